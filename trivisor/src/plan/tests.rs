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
    let mut cases = [(); 8].map(|()| Settings::default());
    let [
        disks,
        net,
        sockets,
        rng,
        balloon,
        packed,
        transport,
        console,
    ] = &mut cases;
    disks.disk = vec!["a.img,bus=virtio".parse().unwrap()];
    net.net = vec![NetSetting { link }];
    sockets.vm.vsock = Some(vsock);
    rng.vm.rng = Some(true);
    balloon.vm.balloon = true;
    packed.vm.packed = true;
    transport.vm.transport = TransportSetting::Mmio;
    console.vm.console = Some(SerialSetting::Stdio);
    let flags = [
        "--disk",
        "--net",
        "--vsock",
        "--rng",
        "--balloon",
        "--packed",
        "--transport",
        "--console",
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

#[test]
fn one_console_has_standard_input_and_output() {
    let (stdio, none) = (SerialSetting::Stdio, SerialSetting::None);
    let file = || SerialSetting::File("out.log".into());
    for (serial, console, resolved, linux) in [
        (None, None, Some(stdio.clone()), "console=ttyS0"),
        (None, Some(file()), Some(stdio.clone()), "console=ttyS0"),
        (
            None,
            Some(stdio.clone()),
            Some(none.clone()),
            "console=hvc0",
        ),
        (
            Some(file()),
            Some(stdio.clone()),
            Some(file()),
            "console=hvc0",
        ),
        (
            Some(none.clone()),
            None,
            Some(none.clone()),
            "console=ttyS0",
        ),
    ] {
        let mut settings = Settings::default();
        (settings.vm.serial, settings.vm.console) = (serial, console);
        let mode = resolve(&mut settings).unwrap();
        assert_eq!(settings.vm.serial, resolved);
        assert!(own_cmdline(mode, &settings.vm).starts_with(linux));
        // Resolved once more, as of a printed file, it stays.
        let again = settings.clone();
        assert_eq!(resolve(&mut settings).unwrap(), mode);
        assert_eq!(settings, again);
    }
    let mut both = Settings::default();
    (both.vm.serial, both.vm.console) = (Some(stdio.clone()), Some(stdio));
    let failure = resolve(&mut both).unwrap_err();
    assert!(
        failure.what.starts_with("--serial and --console"),
        "{failure:?}"
    );
    // One that leads nowhere is none.
    let mut nowhere = Settings::default();
    nowhere.vm.console = Some(none);
    assert_eq!(resolve(&mut nowhere).unwrap(), Mode::Basic);
}
