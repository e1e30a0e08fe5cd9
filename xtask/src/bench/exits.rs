//! `cargo xtask bench exits`: what the buses add to a port or memory exit, measured alone.

use anyhow::{Context, Result, ensure};

use crate::process;

/// What the bus may add to a port exit.
const AIM_NS: f64 = 50.0;

/// A measurement of Criterion's.
#[derive(Debug, PartialEq)]
struct Cost {
    name: String,
    /// Of one iteration, the middle estimate.
    ns: f64,
    accesses: u32,
}

pub(super) fn run() -> Result<()> {
    let mut bench = process::cargo(&["bench", "--package", "trivisor-buses"]);
    bench.args(["--bench", "routing", "--", "--noplot"]);
    let text = process::output(&mut bench)?;
    let costs = parse(&text);
    ensure!(
        !costs.is_empty(),
        "Criterion printed no measurement:\n{text}"
    );
    println!(
        "{:>9}  one access (aim for ports: at most {AIM_NS} ns)",
        "ns"
    );
    for cost in costs {
        println!("{:>9.1}  {}", cost.ns / f64::from(cost.accesses), cost.name);
    }
    Ok(())
}

/// Reads lines as `NAME time: [1.0 ns 1.1 ns 1.2 ns]`; a long name stands on a line of its own.
fn parse(text: &str) -> Vec<Cost> {
    let mut costs = Vec::new();
    let mut above = "";
    for line in text.lines() {
        if let Some((name, times)) = line.split_once("time:") {
            let name = if name.trim().is_empty() { above } else { name };
            let name = name.trim().to_owned();
            if let Ok(ns) = middle_ns(times) {
                // The one that goes to two devices in turn makes two accesses.
                let accesses = if name.contains("two devices") { 2 } else { 1 };
                costs.push(Cost { name, ns, accesses });
            }
        }
        above = line;
    }
    costs
}

fn middle_ns(times: &str) -> Result<f64> {
    let times = times.trim().trim_start_matches('[').trim_end_matches(']');
    let mut words = times.split_whitespace().skip(2);
    let (number, unit) = (
        words.next().context("number")?,
        words.next().context("unit")?,
    );
    let scale = match unit {
        "ps" => 1e-3,
        "ns" => 1.0,
        "µs" | "us" => 1e3,
        "ms" => 1e6,
        _ => anyhow::bail!("unknown unit {unit}"),
    };
    Ok(number.parse::<f64>()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criterions_lines_are_read() {
        let costs = parse(
            "port write             time:   [7.1000 ns 7.2500 ns 7.3000 ns]\n\
             port read, two devices in turn\n\
             \x20                       time:   [1.0 µs 2.0 µs 3.0 µs]\n\
             change: [-1.0%]\n",
        );
        assert_eq!(costs[0].name, "port write");
        assert!((costs[0].ns - 7.25).abs() < 1e-9);
        assert_eq!(costs[1].name, "port read, two devices in turn");
        assert!((costs[1].ns - 2000.0).abs() < 1e-9 && costs[1].accesses == 2);
        assert_eq!(costs.len(), 2);
    }
}
