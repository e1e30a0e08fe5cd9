//! The interrupt output, and the timer that it comes by.

use trivisor_buses::{Shell, Timers};

use super::*;

/// Reads register C, as the handler of an interrupt does.
fn read_c(rtc: &Shell<Rtc>) {
    rtc.with(|rtc| {
        PortDevice::write(rtc, 0, &[0x0c]).unwrap();
        PortDevice::read(rtc, 1, &mut [0]).unwrap();
    });
}

/// The chip with its interrupt, in its shell.
fn with_irq(host: &Arc<TestHost>) -> Arc<Shell<Rtc>> {
    let (timer, end) = host.timer().unwrap();
    let irq = IrqPin {
        line: host.line(),
        clock: host.clone(),
        timer,
    };
    let rtc = Rtc::new(host.clone()).with_irq(irq);
    let rtc = Shell::new("rtc", WIDTHS, rtc);
    end.wakes(&rtc);
    rtc
}

#[test]
fn without_an_enabled_interrupt_no_timer_runs() {
    let host = TestHost::new();
    let rtc = with_irq(&host);
    rtc.with(|rtc| check(rtc, "0a -> 26, 0b = 02, 0c -> 00"));
    assert_eq!(host.armed(), None);
    host.advance(Duration::from_secs(100));
    assert_eq!(host.levels.take(), []);
    // One that waits comes when it is enabled, and goes when it is not (datasheet, IRQF).
    rtc.with(|rtc| check(rtc, "0b = 12"));
    assert_eq!((host.levels.take(), host.armed()), (vec![true], None));
    rtc.with(|rtc| check(rtc, "0b = 02"));
    assert_eq!((host.levels.take(), host.armed()), (vec![false], None));
}

#[test]
fn a_periodic_interrupt_comes_at_each_rate_and_waits_for_c() {
    // Table 5, 32.768 kHz: nanoseconds of a period, rounded up.
    for (rs, ns) in [
        (1, 3_906_250),
        (2, 7_812_500),
        (3, 122_071),
        (4, 244_141),
        (5, 488_282),
        (6, 976_563),
        (7, 1_953_125),
        (8, 3_906_250),
        (9, 7_812_500),
        (10, 15_625_000),
        (11, 31_250_000),
        (12, 62_500_000),
        (13, 125_000_000),
        (14, 250_000_000),
        (15, 500_000_000),
    ] {
        let host = TestHost::new();
        let rtc = with_irq(&host);
        rtc.with(|rtc| check(rtc, &format!("0a = 2{rs:x}, 0b = 42")));
        host.advance(Duration::from_nanos(ns - 1));
        assert_eq!(host.levels.take(), [], "rate {rs}");
        host.advance(Duration::from_nanos(1));
        assert_eq!(host.levels.take(), [true], "rate {rs}");
        // No second edge before C was read, however long that takes.
        host.advance(ms(1500));
        assert_eq!((host.levels.take(), host.armed()), (vec![], None));
        read_c(&rtc);
        host.advance(Duration::from_nanos(ns));
        assert_eq!(host.levels.take(), [false, true], "rate {rs}");
    }
    let host = TestHost::new();
    let rtc = with_irq(&host);
    rtc.with(|rtc| check(rtc, "0a = 20, 0b = 42"));
    assert_eq!(host.armed(), None);
}

#[test]
fn a_thousand_periods_are_a_thousand_interrupts() {
    let host = TestHost::new();
    let rtc = with_irq(&host);
    rtc.with(|rtc| check(rtc, "0a = 26, 0b = 42"));
    let mut count = 0;
    // A handler that reads C at once: 1024 Hz for 10 s.
    for _ in 0..100_000 {
        host.advance(Duration::from_micros(100));
        if host.levels.take() == [true] {
            count += 1;
            read_c(&rtc);
            host.levels.take();
        }
    }
    assert_eq!(count, 10_240);
}

#[test]
fn an_update_interrupts_when_it_has_ended() {
    let host = TestHost::new();
    let rtc = with_irq(&host);
    host.advance(ms(300));
    rtc.with(|rtc| check(rtc, "0c -> 40, 0b = 12"));
    host.advance(ms(700) - Duration::from_nanos(1));
    assert_eq!(host.levels.take(), []);
    host.advance(Duration::from_nanos(1));
    assert_eq!(host.levels.take(), [true]);
    rtc.with(|rtc| check(rtc, "0c -> d0, 00 -> 41"));
    host.advance(ms(1000));
    assert_eq!(host.levels.take(), [false, true]);
    // SET clears UIE, and with it IRQF.
    rtc.with(|rtc| check(rtc, "0b = 92, 0b -> 82"));
    assert_eq!((host.levels.take(), host.armed()), (vec![false], None));
}

#[test]
fn an_alarm_interrupts_at_its_second_and_don_t_cares_at_each() {
    // 01:46:40 it is. Seconds until the alarm.
    for (alarm, seconds) in [
        ("01 = 45, 03 = 46, 05 = 01", 5),
        ("01 = 00, 03 = 47, 05 = c0", 20),
        ("01 = 30, 03 = 46, 05 = 02", 3590),
        ("01 = c0, 03 = c0, 05 = ff", 1),
        ("01 = 40, 03 = 46, 05 = 01", 86_400),
    ] {
        let host = TestHost::new();
        let rtc = with_irq(&host);
        rtc.with(|rtc| check(rtc, &format!("{alarm}, 0a = 20, 0b = 22")));
        host.advance(Duration::from_secs(seconds) - Duration::from_nanos(1));
        assert_eq!(host.levels.take(), [], "{alarm}");
        host.advance(Duration::from_nanos(1));
        assert_eq!(host.levels.take(), [true], "{alarm}");
        rtc.with(|rtc| check(rtc, "0c -> b0"));
        assert_eq!(host.levels.take(), [false], "{alarm}");
    }
    let host = TestHost::new();
    let rtc = with_irq(&host);
    // An hour that none is.
    rtc.with(|rtc| check(rtc, "05 = 25, 0b = 22"));
    host.advance(Duration::from_secs(200_000));
    assert_eq!(host.levels.take(), []);
}

#[test]
fn a_held_divider_interrupts_half_a_second_after_its_release() {
    let host = TestHost::new();
    let rtc = with_irq(&host);
    rtc.with(|rtc| check(rtc, "0a = 60, 0b = 72"));
    assert_eq!(host.armed(), None);
    host.advance(ms(700));
    rtc.with(|rtc| check(rtc, "0b = 12, 0a = 20"));
    host.advance(ms(499));
    assert_eq!(host.levels.take(), []);
    host.advance(ms(1));
    assert_eq!(host.levels.take(), [true]);
}

#[test]
fn a_clock_of_the_host_set_back_or_on_does_not_lose_the_interrupts() {
    let host = TestHost::new();
    let rtc = with_irq(&host);
    rtc.with(|rtc| check(rtc, "0b = 12"));
    for time in [0, 2_000_000_000, 5_000_000_000, 1_000_000_000] {
        host.set_unix_time(Duration::from_secs(time));
        read_c(&rtc);
        host.levels.take();
        host.advance(ms(2000));
        assert_eq!(host.levels.take(), [true], "{time}");
    }
}

#[test]
fn the_datasheets_reset_ends_interrupts_and_leaves_the_rest() {
    let host = TestHost::new();
    let rtc = with_irq(&host);
    rtc.with(|rtc| {
        check(
            rtc,
            "0b = 7d, 0a = 2f, 02 = 05, 04 = 83, 06 = 02, 40 = a5, 05 = 11, 00 = 07",
        );
    });
    host.advance(ms(1000));
    assert_eq!(host.levels.take(), [true]);
    rtc.with(Rtc::reset);
    assert_eq!((host.levels.take(), host.armed()), (vec![false], None));
    rtc.with(|rtc| {
        check(
            rtc,
            "0a -> 2f, 0b -> 05, 0c -> 00, 04 -> 83, 06 -> 02, 40 -> a5, 05 -> 11, 00 -> 08",
        );
    });
}

#[test]
fn a_restored_chip_keeps_its_level_and_its_next_interrupt() {
    let host = TestHost::new();
    let first = with_irq(&host);
    first.with(|rtc| check(rtc, "0a = 2f, 0b = 42"));
    host.advance(ms(400));
    let waiting = first.with(|rtc| rtc.save());
    host.advance(ms(100));
    let high = first.with(|rtc| rtc.save());
    assert_eq!(host.levels.take(), [true]);
    drop(first);
    host.levels.take();
    let second = with_irq(&host);
    second.with(|rtc| rtc.restore(&high)).unwrap();
    assert!(second.with(|rtc| rtc.irq.as_ref().unwrap().line.level()));
    assert_eq!((host.levels.take(), host.armed()), (vec![], None));
    second.with(|rtc| rtc.restore(&waiting)).unwrap();
    assert_eq!(host.levels.take(), []);
    // It was due in the meantime.
    host.advance(Duration::ZERO);
    assert_eq!(host.levels.take(), [true]);
    second.with(|rtc| rtc.restore(&waiting)).unwrap();
    second.with(Component::start);
    assert_eq!(host.levels.take(), [true]);
}
