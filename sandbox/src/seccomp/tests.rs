use super::{Devices, Filter, Role, ioctls};

/// As a C compiler makes them of linux/kvm.h.
const REQUESTS: &[(u32, &str)] = &[
    (0xae80, "KVM_RUN"),
    (0x8090_ae81, "KVM_GET_REGS"),
    (0x4090_ae82, "KVM_SET_REGS"),
    (0x8138_ae83, "KVM_GET_SREGS"),
    (0x4138_ae84, "KVM_SET_SREGS"),
    (0xc008_ae88, "KVM_GET_MSRS"),
    (0x4008_ae89, "KVM_SET_MSRS"),
    (0xc008_ae91, "KVM_GET_CPUID2"),
    (0x4048_ae9b, "KVM_SET_GUEST_DEBUG"),
    (0x8040_ae9f, "KVM_GET_VCPU_EVENTS"),
    (0x4040_aea0, "KVM_SET_VCPU_EVENTS"),
    (0x9000_aea4, "KVM_GET_XSAVE"),
    (0x5000_aea5, "KVM_SET_XSAVE"),
    (0x8188_aea6, "KVM_GET_XCRS"),
    (0x4188_aea7, "KVM_SET_XCRS"),
    (0x4020_aea5, "KVM_SIGNAL_MSI"),
    (0x4008_ae6a, "KVM_SET_GSI_ROUTING"),
    (0x4040_ae79, "KVM_IOEVENTFD"),
    (0x4004_54d0, "TUNSETOFFLOAD"),
];

#[test]
fn requests_are_the_kernels() {
    let ours = [ioctls::VCPU, ioctls::DEVICE, ioctls::BELLS, ioctls::VIRTIO];
    let ours = ours.concat();
    assert_eq!(ours, REQUESTS);
}

#[test]
fn filters_fit_and_differ() {
    // BPF_MAXINSNS of linux/bpf_common.h.
    const MOST: usize = 4096;
    let [vcpu, io] =
        [Role::Vcpu, Role::Io].map(|role| Filter::for_role(role, Devices::Basic).unwrap());
    assert!(!vcpu.0.is_empty() && vcpu.0.len() < MOST);
    assert!(!io.0.is_empty() && io.0.len() < MOST);
    assert_ne!(vcpu.0, io.0);
    for role in [Role::Vcpu, Role::Io, Role::Worker] {
        let filters = [Devices::Basic, Devices::Virtio]
            .map(|devices| Filter::for_role(role, devices).unwrap());
        assert!(filters[1].0.len() < MOST);
        assert!(filters[0].0.len() < filters[1].0.len());
    }
}
