mod interrupt;
mod saved;

use std::time::Duration;

use trivisor_buses::testing::{TestHost, check_ports};
use trivisor_buses::{Component, PortDevice};

use super::*;

/// 2001-09-09 01:46:40 UTC, a Sunday.
const START: Duration = Duration::from_secs(1_000_000_000);

fn rtc() -> (Rtc, Arc<TestHost>) {
    let host = TestHost::new();
    (Rtc::new(host.clone()), host)
}

/// A line a register: `INDEX -> VALUE`, `INDEX = VALUE`.
fn check(rtc: &mut Rtc, lines: &str) {
    for line in lines.split(',').map(str::trim) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let script = match *words {
            [index, "->", value] => format!("w 0 {index}\n r 1 -> {value}"),
            [index, "=", value] => format!("w 0 {index}\n w 1 {value}"),
            [index, "=", value, "->", "error"] => {
                format!("w 0 {index}\n w 1 {value} -> error")
            }
            _ => panic!("{line}"),
        };
        check_ports(rtc, &script);
    }
}

/// Sets the clock: hour, minute, second, then year with century, month, day, then day of the week.
fn set(rtc: &mut Rtc, time: [&str; 3], date: [&str; 4], weekday: &str) {
    let [hour, minute, second] = time;
    let [century, year, month, day] = date;
    check(
        rtc,
        &format!(
            "0b = 82, 00 = {second}, 02 = {minute}, 04 = {hour}, 06 = {weekday}, 07 = {day}, 08 = {month}, \
             09 = {year}, 32 = {century}, 0b = 02"
        ),
    );
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn reset_values_are_those_of_the_tables() {
    let (mut rtc, _) = rtc();
    check_ports(
        &mut rtc,
        "r 0 -> error\n r 2 -> error\n w 2 00 -> error\n r 1 -> 40",
    );
    check(
        &mut rtc,
        "00 -> 40, 02 -> 46, 04 -> 01, 01 -> 00, 03 -> 00, 05 -> 00, 06 -> 01, 07 -> 09, 08 -> 09, 09 -> 01, \
         0a -> 26, 0b -> 02, 0c -> 00, 0d -> 80, 0e -> 00, 32 -> 20, 7f -> 00",
    );
}

#[test]
fn what_is_read_only_stays() {
    let (mut rtc, _) = rtc();
    check(
        &mut rtc,
        "0c = ff -> error, 0d = 00 -> error, 0c -> 00, 0d -> 80, 0a = af, 0a -> 2f, 0b = 7f, 0b -> 7f",
    );
}

#[test]
fn ram_keeps_each_byte_and_bit_7_of_the_index_does_not_count() {
    let (mut rtc, _) = rtc();
    for index in (0x0e..0x80_u8).filter(|index| *index != 0x32) {
        check(&mut rtc, &format!("{index:02x} = {:02x}", !index));
    }
    for index in (0x0e..0x80_u8).filter(|index| *index != 0x32) {
        check(&mut rtc, &format!("{:02x} -> {:02x}", index | 0x80, !index));
    }
}

#[test]
fn binary_and_12_hours_are_other_spellings() {
    for (b, hour, registers) in [
        ("02", "00", "04 -> 00"),
        ("00", "12", "04 -> 12"),
        ("00", "01", "04 -> 01"),
        ("00", "92", "04 -> 92"),
        ("00", "91", "04 -> 91"),
        ("04", "8b", "04 -> 8b"),
        ("06", "17", "04 -> 17"),
    ] {
        let (mut rtc, host) = rtc();
        check(
            &mut rtc,
            &format!("0b = 82, 00 = 00, 02 = 00, 04 = {hour}, 0b = {b}"),
        );
        host.advance(ms(1000));
        check(&mut rtc, registers);
    }
    let (mut rtc, host) = rtc();
    // 11:59:59 PM of 31 December 1999, binary.
    check(
        &mut rtc,
        "0b = 84, 00 = 3b, 02 = 3b, 04 = 8b, 07 = 1f, 08 = 0c, 09 = 63, 32 = 13, 0b = 04",
    );
    host.advance(ms(1000));
    check(
        &mut rtc,
        "00 -> 00, 02 -> 00, 04 -> 0c, 07 -> 01, 08 -> 01, 09 -> 00, 32 -> 14",
    );
    host.advance(Duration::from_secs(12 * 3600));
    check(&mut rtc, "04 -> 8c");
    host.advance(Duration::from_secs(3600));
    check(&mut rtc, "04 -> 81");
}

#[test]
fn dates_carry() {
    for (date, after) in [
        (["20", "00", "02", "28"], "32 -> 20, 08 -> 02, 07 -> 29"),
        (["20", "01", "02", "28"], "32 -> 20, 08 -> 03, 07 -> 01"),
        (["20", "24", "02", "29"], "32 -> 20, 08 -> 03, 07 -> 01"),
        (["21", "00", "02", "28"], "32 -> 21, 08 -> 03, 07 -> 01"),
        (["20", "26", "04", "30"], "32 -> 20, 08 -> 05, 07 -> 01"),
        (
            ["20", "25", "12", "31"],
            "09 -> 26, 32 -> 20, 08 -> 01, 07 -> 01",
        ),
        (
            ["19", "99", "12", "31"],
            "09 -> 00, 32 -> 20, 08 -> 01, 07 -> 01",
        ),
        (
            ["99", "99", "12", "31"],
            "09 -> 00, 32 -> 00, 08 -> 01, 07 -> 01",
        ),
    ] {
        let (mut rtc, host) = rtc();
        set(&mut rtc, ["23", "59", "59"], date, "07");
        host.advance(ms(1000));
        check(&mut rtc, after);
        check(&mut rtc, "00 -> 00, 02 -> 00, 04 -> 00, 06 -> 01");
    }
}

#[test]
fn every_day_of_two_centuries_follows_the_one_before() {
    // A calendar by the rules alone: 1970 to 2169, a day at a time.
    let (mut year, mut month, mut day) = (1970_u64, 1, 1);
    for days in 0..73_048_u64 {
        let host = TestHost::new();
        host.set_unix_time(Duration::from_secs(days * 86_400 + 86_399));
        let mut rtc = Rtc::new(host);
        let bcd = |value: u64| value / 10 * 16 + value % 10;
        let expected = [year / 100, year % 100, month, day].map(bcd);
        let found = [0x32, 0x09, 0x08, 0x07].map(|index| {
            PortDevice::write(&mut rtc, 0, &[index]).unwrap();
            let mut value = [0];
            PortDevice::read(&mut rtc, 1, &mut value).unwrap();
            u64::from(value[0])
        });
        assert_eq!(found, expected, "day {days}");
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year == 2000);
        let length = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        day += 1;
        if day > length {
            (day, month) = (1, month + 1);
        }
        if month > 12 {
            (month, year) = (1, year + 1);
        }
    }
}

#[test]
fn time_follows_the_host_from_where_the_guest_set_it() {
    let (mut rtc, host) = rtc();
    set(&mut rtc, ["12", "00", "00"], ["20", "26", "05", "01"], "06");
    host.advance(Duration::from_secs(86_400 + 61));
    check(
        &mut rtc,
        "00 -> 01, 02 -> 01, 04 -> 12, 07 -> 02, 06 -> 07, 08 -> 05, 09 -> 26",
    );
    host.set_unix_time(START + Duration::from_secs(1));
    check(
        &mut rtc,
        "00 -> 01, 02 -> 00, 04 -> 12, 07 -> 01, 06 -> 06, 0c -> 70",
    );
    host.set_unix_time(START - Duration::from_secs(86_400));
    check(&mut rtc, "00 -> 00, 04 -> 12, 07 -> 30, 08 -> 04, 0c -> 00");
}

#[test]
fn set_holds_the_time_and_not_the_divider() {
    let (mut rtc, host) = rtc();
    host.advance(ms(900));
    check(&mut rtc, "0b = 92, 0b -> 82, 00 -> 40");
    host.advance(ms(60_200));
    check(&mut rtc, "00 -> 40, 02 -> 46, 0c -> 40, 0b = 02, 00 -> 40");
    host.advance(ms(800));
    check(&mut rtc, "00 -> 40");
    host.advance(ms(100));
    check(&mut rtc, "00 -> 41, 0c -> 50");
}

#[test]
fn a_divider_released_updates_half_a_second_later() {
    let (mut rtc, host) = rtc();
    host.advance(ms(700));
    check(&mut rtc, "0a = 60, 0c -> 40");
    host.advance(ms(10_000));
    check(&mut rtc, "00 -> 40, 0a -> 60, 0a = 7f, 0a -> 7f");
    host.advance(ms(650));
    check(&mut rtc, "0c -> 00, 0a = 26, 0c -> 00");
    host.advance(ms(499));
    check(&mut rtc, "00 -> 40, 0a -> a6, 0c -> 40");
    host.advance(ms(1));
    check(&mut rtc, "00 -> 41, 0a -> 26, 0c -> 50");
    host.advance(ms(1000));
    check(&mut rtc, "00 -> 42");
}

#[test]
fn an_update_is_announced_244_us_before_it_begins() {
    let (mut rtc, host) = rtc();
    host.advance(Duration::from_nanos(997_771_999));
    check(&mut rtc, "0a -> 26");
    host.advance(Duration::from_nanos(1));
    check(&mut rtc, "0a -> a6, 00 -> 40");
    check(&mut rtc, "0b = 82, 0a -> 26, 0b = 02, 0a -> a6");
    host.advance(Duration::from_nanos(2_227_999));
    check(&mut rtc, "0a -> a6, 00 -> 40");
    host.advance(Duration::from_nanos(1));
    check(&mut rtc, "0a -> 26, 00 -> 41");
}

#[test]
fn periods_end_at_the_selected_rate() {
    for (rs, hz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let (mut rtc, host) = rtc();
        check(&mut rtc, &format!("0b = 82, 0a = 2{rs:x}"));
        let period = Duration::from_nanos(1_000_000_000_u64.div_ceil(hz));
        host.advance(period - Duration::from_nanos(1));
        check(&mut rtc, "0c -> 00");
        host.advance(Duration::from_nanos(1));
        check(&mut rtc, "0c -> 40, 0c -> 00");
        host.advance(period * 3);
        check(&mut rtc, "0b = c2, 0c -> c0, 0c -> 00");
    }
    let (mut rtc, host) = rtc();
    check(&mut rtc, "0a = 20");
    host.advance(ms(999));
    check(&mut rtc, "0c -> 00");
}

#[test]
fn an_alarm_rings_when_all_three_bytes_match() {
    for (alarm, seconds) in [
        ("01 = 45, 03 = 46, 05 = 01", 5),
        ("01 = 00, 03 = 47, 05 = c0", 20),
        ("01 = 00, 03 = ff, 05 = ff", 20),
        ("01 = c0, 03 = 47, 05 = 01", 20),
        ("01 = c0, 03 = c0, 05 = c0", 1),
        ("01 = 40, 03 = 46, 05 = 01", 86_400),
    ] {
        let (mut rtc, host) = rtc();
        check(&mut rtc, &format!("0a = 20, 0b = 22, {alarm}"));
        host.advance(Duration::from_secs(seconds) - ms(1));
        let before = if seconds > 1 { "0c -> 10" } else { "0c -> 00" };
        check(&mut rtc, before);
        host.advance(ms(1));
        check(&mut rtc, "0c -> b0, 0c -> 00");
    }
}

#[test]
fn an_alarm_is_found_however_late_somebody_looks() {
    let (mut rtc, host) = rtc();
    check(&mut rtc, "0a = 20, 01 = 41, 03 = 46, 05 = 01");
    host.advance(Duration::from_secs(400 * 86_400));
    check(&mut rtc, "0c -> 30");
    // No second reads as 1f.
    check(&mut rtc, "01 = 1f");
    host.advance(Duration::from_secs(400 * 86_400));
    check(&mut rtc, "0c -> 10");
    // A clock that is set by no more than writes to it has not passed the time between.
    check(&mut rtc, "01 = 45, 00 = 50, 0c -> 00");
}

#[test]
fn flags_wait_for_a_read_and_interrupt_only_when_enabled() {
    let (mut rtc, host) = rtc();
    host.advance(ms(1000));
    check(&mut rtc, "0c -> 50, 0b = 12, 0c -> 00");
    host.advance(ms(1000));
    check(&mut rtc, "0b = 02, 0b = 12, 0c -> d0");
}

#[test]
fn impossible_times_count_on() {
    for b in ["00", "02", "04", "06"] {
        for value in ["00", "7f", "80", "ff"] {
            let (mut rtc, host) = rtc();
            for index in (0..10).chain([0x32]) {
                check(&mut rtc, &format!("{index:02x} = {value}"));
            }
            check(&mut rtc, &format!("0b = {b}"));
            host.advance(ms(1000));
            let mut found = [0; 10];
            for (index, byte) in (0..).zip(&mut found) {
                PortDevice::write(&mut rtc, 0, &[index]).unwrap();
                PortDevice::read(&mut rtc, 1, std::slice::from_mut(byte)).unwrap();
            }
            // One more step changes the second alone.
            host.advance(ms(1000));
            check(&mut rtc, &format!("07 -> {:02x}", found[7]));
            check(&mut rtc, &format!("08 -> {:02x}", found[8]));
            assert!((1..=0x31).contains(&found[7]), "day {found:02x?}");
            assert!((1..=0x12).contains(&found[8]), "month {found:02x?}");
        }
    }
}

#[test]
fn the_ends_of_the_hosts_time_are_survived() {
    let host = TestHost::new();
    host.set_unix_time(Duration::MAX);
    let mut rtc = Rtc::new(host.clone());
    check(&mut rtc, "0a = 60, 0a = 21, 0c -> 00");
    host.set_unix_time(Duration::ZERO);
    check(&mut rtc, "0c -> 00, 0a -> 21");
    host.set_unix_time(Duration::MAX);
    check(&mut rtc, "0c -> 70");
}

#[test]
fn reset_restarts_the_clock_and_keeps_time_and_ram() {
    let (mut rtc, host) = rtc();
    check(&mut rtc, "40 = a5, 01 = 11");
    // 3:04:05 PM in binary, the divider held, SET.
    check(
        &mut rtc,
        "0b = f5, 0a = 7f, 00 = 05, 02 = 04, 04 = 83, 07 = 1f, 08 = 0c, 09 = 1a, 32 = 14",
    );
    rtc.reset();
    check_ports(&mut rtc, "r 1 -> 05");
    check(
        &mut rtc,
        "00 -> 05, 02 -> 04, 04 -> 15, 07 -> 31, 08 -> 12, 09 -> 26, 32 -> 20, 40 -> a5, 01 -> 11, 0a -> 26, \
         0b -> 02, 0c -> 00",
    );
    host.advance(ms(500));
    check(&mut rtc, "00 -> 06");
}

#[test]
fn two_bytes_at_once_are_no_access_of_this_chip() {
    let (mut rtc, _) = rtc();
    assert!(PortDevice::write(&mut rtc, 0, &[1, 2]).is_err());
    assert!(PortDevice::read(&mut rtc, 1, &mut [1, 2]).is_err());
}
