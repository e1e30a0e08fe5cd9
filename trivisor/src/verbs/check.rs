//! `trivisor check`: what this host can do, and a fix for each gap.

use std::path::Path;

use trivisor_kvm::{HostKind, IrqchipKind, Kvm, Vm};
use trivisor_sandbox::seccomp::{Devices, Filter, Role};

use crate::arguments::show_size;
use crate::control::registry::Registration;
use crate::failure::chain;
use crate::plan::no_kvm;

/// One line of the report.
struct Finding {
    what: &'static str,
    /// What was found, or what is wrong and its fix.
    result: Result<String, (String, String)>,
}

/// The report, and whether a VM can run here.
pub(crate) fn check() -> (String, bool) {
    let mut findings = Vec::new();
    let mut add = |what, result| findings.push(Finding { what, result });
    match Kvm::open_node(Path::new("/dev/kvm")).and_then(Kvm::from_file) {
        Ok(kvm) => {
            add(
                "/dev/kvm",
                Ok(format!("usable, at most {} vCPUs a VM", kvm.max_vcpus())),
            );
            let capabilities = kvm.check_capabilities();
            add(
                "capabilities",
                capabilities
                    .map(|()| "all that are needed".into())
                    .map_err(|error| (chain(&error), "use Linux 5.10 or later on the host".into())),
            );
            add("kind of host", Ok(HostKind::of_this_host().to_string()));
            let vm = Vm::new(&kvm, IrqchipKind::Split { pins: 24 }, 1)
                .and_then(|mut vm| vm.create_vcpu(0));
            add(
                "a VM with a vCPU",
                vm.map(|_| "can be created".into())
                    .map_err(|error| (chain(&error), "see the host's kernel log (dmesg)".into())),
            );
        }
        Err(error) => {
            let failure = no_kvm(&error);
            add("/dev/kvm", Err((failure.what, failure.advice)));
        }
    }
    add(
        "memory",
        Ok(format!(
            "{} for all VMs together",
            show_size(trivisor_memory::host_memory() >> 20 << 20)
        )),
    );
    let filters = [Role::Vcpu, Role::Io].map(|role| Filter::for_role(role, Devices::Pc));
    add(
        "jail: system calls",
        match filters.into_iter().find_map(Result::err) {
            None => Ok("filters are available".into()),
            Some(error) => Err((
                chain(&error),
                "build the host's kernel with CONFIG_SECCOMP_FILTER".into(),
            )),
        },
    );
    let firmware = crate::plan::pc::sea_bios();
    add(
        "SeaBIOS, for mode hvm",
        firmware
            .map(|found| found.path.display().to_string())
            .map_err(|failure| (failure.what, failure.advice)),
    );
    add(
        "control sockets",
        Registration::new(&format!("check-{}", std::process::id()))
            .map(|_| "can be created".into())
            .map_err(|failure| (failure.what, failure.advice)),
    );
    show(&findings)
}

fn show(findings: &[Finding]) -> (String, bool) {
    let mut report = String::new();
    for Finding { what, result } in findings {
        report += &match result {
            Ok(found) => format!("ok       {what}: {found}\n"),
            Err((wrong, fix)) => format!("MISSING  {what}: {wrong}\n         fix: {fix}\n"),
        };
    }
    (
        report,
        findings.iter().all(|finding| finding.result.is_ok()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_comes_with_its_fix() {
        let gap = Finding {
            what: "x",
            result: Err(("gone".into(), "bring it".into())),
        };
        let (report, usable) = show(&[gap]);
        assert_eq!(report, "MISSING  x: gone\n         fix: bring it\n");
        assert!(!usable);
    }
}
