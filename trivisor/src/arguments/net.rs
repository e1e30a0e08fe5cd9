//! `user|tap=NAME|socket=PATH|vhost-user=SOCKET|none[,mac=..][,queues=N][,forward=tcp:8080:80]..`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use trivisor_backends::net::passt::Forward;

use super::disk::number;
use crate::settings::text_form;

/// Where the cable leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetLink {
    /// passt, without a right on the host.
    User,
    /// A tap of the host.
    Tap(String),
    /// A socket that speaks QEMU's stream protocol, or datagrams.
    Socket(PathBuf),
    /// The socket of a program that serves the card's queues.
    VhostUser(PathBuf),
    /// Nowhere.
    None,
}

/// A network card as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetArgument {
    pub(crate) link: NetLink,
    /// Default: derived from the VM's name and the card's place.
    pub(crate) mac: Option<[u8; 6]>,
    pub(crate) queues: u16,
    pub(crate) forwards: Vec<Forward>,
    /// As they were typed.
    forward_texts: Vec<String>,
}

impl FromStr for NetArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let link = parts.next().unwrap_or_default();
        let link = match link.split_once('=').unwrap_or((link, "")) {
            ("user", "") => NetLink::User,
            ("none", "") => NetLink::None,
            ("tap", name) if !name.is_empty() => NetLink::Tap(name.into()),
            ("socket", path) if !path.is_empty() => NetLink::Socket(path.into()),
            ("vhost-user", path) if !path.is_empty() => NetLink::VhostUser(path.into()),
            _ => {
                return Err(format!(
                    "{link:?}: user, tap=NAME, socket=PATH, vhost-user=SOCKET or none"
                ));
            }
        };
        let mut net = Self {
            link,
            mac: None,
            queues: 1,
            forwards: Vec::new(),
            forward_texts: Vec::new(),
        };
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("model", "virtio") => {}
                ("model", model @ ("e1000" | "rtl8139")) => {
                    return Err(format!(
                        "model={model} needs mode hvm, which is not in this version"
                    ));
                }
                ("mac", mac) => net.mac = Some(parse_mac(mac)?),
                ("queues", count) => net.queues = number(part, count, 1..=8)?,
                ("forward", forward) => {
                    let parsed = forward.parse::<Forward>();
                    net.forwards
                        .push(parsed.map_err(|error| error.to_string())?);
                    net.forward_texts.push(forward.into());
                }
                ("bps", _) => return Err(format!("{part:?}: not in this version")),
                _ => {
                    return Err(format!(
                        "{part:?}: model=virtio, mac=.., queues=N or forward=tcp:HOSTPORT:GUESTPORT"
                    ));
                }
            }
        }
        match net.link {
            NetLink::User => {}
            _ if !net.forwards.is_empty() => {
                return Err("forward= needs user: another network forwards by itself".into());
            }
            _ => {}
        }
        if net.queues > 1 && !matches!(net.link, NetLink::Tap(_)) {
            return Err("queues= needs a tap: other networks have one".into());
        }
        Ok(net)
    }
}

impl fmt::Display for NetArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.link {
            NetLink::User => f.write_str("user")?,
            NetLink::Tap(name) => write!(f, "tap={name}")?,
            NetLink::Socket(path) => write!(f, "socket={}", path.display())?,
            NetLink::VhostUser(path) => write!(f, "vhost-user={}", path.display())?,
            NetLink::None => f.write_str("none")?,
        }
        if let Some(mac) = self.mac {
            write!(f, ",mac={}", show_mac(mac))?;
        }
        if self.queues > 1 {
            write!(f, ",queues={}", self.queues)?;
        }
        self.forward_texts
            .iter()
            .try_for_each(|forward| write!(f, ",forward={forward}"))
    }
}

text_form!(NetArgument);

/// As it is written on a card.
fn show_mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let parse = || {
        let mut bytes = text.split(':').map(|part| {
            let digits = Some(part).filter(|part| part.len() == 2)?;
            u8::from_str_radix(digits, 16).ok()
        });
        let mac = [(); 6].map(|()| bytes.next().flatten());
        let [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)] = mac else {
            return None;
        };
        bytes.next().is_none().then_some([a, b, c, d, e, f])
    };
    let mac =
        parse().ok_or_else(|| format!("{text:?} is no MAC address such as 52:54:00:12:34:56"))?;
    if mac[0] & 1 == 1 {
        return Err(format!("{text:?} is the address of a group, not of a card"));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_comes_back_as_it_was_typed() {
        for text in [
            "user",
            "none",
            "tap=tap0,queues=4",
            "socket=/run/a.sock,mac=52:54:00:12:34:56",
            "vhost-user=/run/a.sock",
            "user,forward=tcp:8080:80,forward=udp:53:53",
        ] {
            assert_eq!(text.parse::<NetArgument>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, wanted) in [
            ("bridge", "user, tap=NAME"),
            ("tap=", "user, tap=NAME"),
            ("user,mac=52:54:00:12:34", "is no MAC address"),
            ("user,mac=53:54:00:12:34:56", "address of a group"),
            ("user,queues=2", "needs a tap"),
            ("tap=t,queues=9", "1 to 8"),
            ("tap=t,forward=tcp:1:2", "needs user"),
            ("user,forward=icmp:1:2", "is no forward"),
            ("user,model=e1000", "needs mode hvm"),
            ("user,fast", "model=virtio"),
        ] {
            let error = text.parse::<NetArgument>().unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
