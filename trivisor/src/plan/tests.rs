use super::*;
use crate::settings::NetSetting;

fn disk(text: &str) -> Settings {
    Settings {
        disk: vec![text.parse().unwrap()],
        ..Settings::default()
    }
}

#[test]
fn the_mode_is_the_first_that_has_all() {
    let mut nothing = Settings::default();
    assert_eq!(resolve(&mut nothing).unwrap(), Mode::Basic);
    assert_eq!(nothing.vm.mode, ModeSetting::Basic);
    assert_eq!(nothing.vm.rng, Some(false));

    let mut plain = disk("a.img");
    assert_eq!(resolve(&mut plain).unwrap(), Mode::Pv);
    assert_eq!(plain.vm.mode, ModeSetting::Pv);
    assert_eq!(plain.vm.rng, Some(true));
    assert_eq!(plain.disk[0].bus, Some(DiskBus::Virtio));

    let mut pmem = disk("a.img,bus=pmem");
    assert_eq!(resolve(&mut pmem).unwrap(), Mode::Basic);

    let mut basic = disk("a.img");
    basic.vm.mode = ModeSetting::Basic;
    assert_eq!(resolve(&mut basic).unwrap(), Mode::Basic);
    assert_eq!(basic.disk[0].bus, Some(DiskBus::Pmem));

    let mut quiet = Settings::default();
    quiet.vm.mode = ModeSetting::Pv;
    quiet.vm.rng = Some(false);
    assert_eq!(resolve(&mut quiet).unwrap(), Mode::Pv);
    assert_eq!(quiet.vm.rng, Some(false));
}

#[test]
fn what_was_resolved_is_not_resolved_otherwise() {
    for mut settings in [Settings::default(), disk("a.img"), disk("a.img,bus=pmem")] {
        let mode = resolve(&mut settings).unwrap();
        let text = settings.to_toml().unwrap();
        let mut again: Settings = toml::from_str(&text).unwrap();
        assert_eq!(again, settings, "{text}");
        assert_eq!(resolve(&mut again).unwrap(), mode);
        assert_eq!(again, settings, "{text}");
    }
}

#[test]
fn each_virtio_device_is_too_much_for_mode_basic() {
    let link = "none".parse().unwrap();
    let vsock = "3,/run/a.vsock".parse().unwrap();
    let mut cases = [(); 7].map(|()| Settings::default());
    let [disks, net, sockets, rng, balloon, packed, transport] = &mut cases;
    disks.disk = vec!["a.img,bus=virtio".parse().unwrap()];
    net.net = vec![NetSetting { link }];
    sockets.vm.vsock = Some(vsock);
    rng.vm.rng = Some(true);
    balloon.vm.balloon = true;
    packed.vm.packed = true;
    transport.vm.transport = TransportSetting::Mmio;
    let flags = [
        "--disk",
        "--net",
        "--vsock",
        "--rng",
        "--balloon",
        "--packed",
        "--transport",
    ];
    for (mut settings, flag) in cases.into_iter().zip(flags) {
        assert_eq!(resolve(&mut settings.clone()).unwrap(), Mode::Pv, "{flag}");
        settings.vm.mode = ModeSetting::Basic;
        let failure = resolve(&mut settings).unwrap_err();
        assert_eq!(
            failure.what,
            format!("{flag}: mode basic has no virtio devices")
        );
        assert!(failure.advice.contains("--mode pv"), "{failure:?}");
    }
}

#[test]
fn acpi_is_off_by_a_word_to_the_kernel() {
    for (words, off) in [
        ("acpi=off", true),
        ("quiet acpi=off -- shell", true),
        ("-- acpi=off", false),
        ("acpi=noirq xacpi=off acpi=offline", false),
        ("", false),
    ] {
        assert_eq!(switches_acpi_off(words), off, "{words:?}");
    }
}
