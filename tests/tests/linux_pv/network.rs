//! Networks of the test's own, each in a namespace that ends with the machine in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use trivisor_tests::{Session, trivisor};

use crate::sum;

/// The guest's address on either network.
pub(crate) const GUEST: &str = "10.10.0.2";

/// passt gives the guest the address of one interface, and a web server listens at that of another, which is not
/// the guest's.
const PASST: &str = "
    ip link add guest0 type veth peer name server0
    ip addr add 10.10.0.2/24 dev guest0 && ip link set guest0 up
    ip addr add 10.20.0.1/24 dev server0 && ip link set server0 up
    ip route add default via 10.10.0.1
    server=10.20.0.1";

/// The host's end of a tap is router, DHCP server and web server.
const TAP: &str = "
    ip tuntap add dev tap0 mode tap
    ip addr add 10.10.0.1/24 dev tap0 && ip link set tap0 up
    busybox udhcpd udhcpd.conf
    server=10.10.0.1";

const LEASES: &str = "interface tap0
    start 10.10.0.2
    end 10.10.0.2
    option subnet 255.255.255.0
    option router 10.10.0.1
    lease_file leases
    pidfile udhcpd.pid\n";

/// The network that a guest is on.
#[derive(Clone, Copy)]
pub(crate) enum Network {
    Passt,
    Tap,
}

impl Network {
    /// The card's `--net`.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::Passt => "user",
            Self::Tap => "tap=tap0",
        }
    }

    const fn server(self) -> &'static str {
        match self {
            Self::Passt => "10.20.0.1",
            Self::Tap => "10.10.0.1",
        }
    }

    /// Starts `trivisor` on it. The web server has the file `served` in `folder`.
    pub(crate) fn start(self, folder: &Path, arguments: &[&str]) -> Session {
        let served = folder.join("served");
        // Enough for frames of more than one segment.
        let contents: Vec<u8> = (0..60_000_u32).flat_map(u32::to_le_bytes).collect();
        fs::create_dir_all(&served).unwrap();
        fs::write(served.join("file"), contents).unwrap();
        fs::write(folder.join("udhcpd.conf"), LEASES).unwrap();
        fs::write(folder.join("leases"), "").unwrap();
        let network = match self {
            Self::Passt => PASST,
            Self::Tap => TAP,
        };
        let script = format!(
            "set -e
            ip link set lo up
            {network}
            busybox httpd -p $server:80 -h served
            exec \"$@\""
        );
        let mut command = Command::new("unshare");
        command.args(["--net", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-c", &script, "sh"]);
        command.arg(trivisor()).args(arguments);
        Session::spawn(command.current_dir(folder))
    }

    /// The guest gets an address and a file. `folder` is the one that it was started with.
    pub(crate) fn use_from(self, vm: &mut Session, folder: &Path) {
        vm.shell(
            "printf '#!/bin/sh\\n[ \"$ip\" ] && ip addr add $ip/24 dev $interface && \
             ip route add default via $router\\n' > /lease; chmod +x /lease; ip link set eth0 up",
        );
        let lease = vm.shell("udhcpc -i eth0 -n -q -s /lease 2>&1 | grep obtained");
        assert!(lease.contains(GUEST), "{lease}");
        let fetch = format!(
            "wget -q -O - http://{}/file | sha256sum | head -c 64",
            self.server()
        );
        assert_eq!(vm.shell(&fetch), sum(&folder.join("served/file")));
    }
}
