//! QEMU, whose qtest socket accesses ports and memory while its vCPU stands.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::script::Machine;

/// A QEMU with a machine `pc`.
pub(crate) struct Qemu {
    child: Child,
    reader: BufReader<UnixStream>,
    _folder: TempDir,
}

impl Qemu {
    /// Starts it with nothing but what the machine always has, and `arguments`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("qtest");
        let listener = UnixListener::bind(&socket).unwrap();
        let child = Command::new("qemu-system-x86_64")
            .args(["-machine", "pc", "-accel", "tcg", "-S", "-m", "16"])
            .args(["-nodefaults", "-display", "none", "-monitor", "none"])
            .arg("-qtest")
            .arg(format!("unix:{}", socket.display()))
            .args(["-qtest-log", "/dev/null"])
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("QEMU starts: package qemu-system-x86");
        let (stream, _) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        Self {
            child,
            reader: BufReader::new(stream),
            _folder: folder,
        }
    }

    /// Sends a command; what stands behind `OK` in the answer.
    fn command(&mut self, command: &str) -> String {
        let stream = self.reader.get_mut();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("QEMU answers");
            assert!(!line.is_empty(), "{command}: QEMU has ended");
            // Interrupts are told of in between.
            if let Some(rest) = line.strip_prefix("OK") {
                return rest.trim().to_owned();
            }
            assert!(line.starts_with("IRQ"), "{command}: {line}");
        }
    }

    fn number(&mut self, command: &str) -> u32 {
        let answer = self.command(command);
        let digits = answer.strip_prefix("0x").expect("a number");
        u32::from_str_radix(digits, 16).expect("a number")
    }
}

fn letter(width: usize) -> char {
    match width {
        1 => 'b',
        2 => 'w',
        _ => 'l',
    }
}

impl Machine for Qemu {
    fn port_read(&mut self, port: u16, width: usize) -> u32 {
        self.number(&format!("in{} {port:#x}", letter(width)))
    }

    fn port_write(&mut self, port: u16, width: usize, value: u32) {
        let value = match width {
            1 => value & 0xff,
            2 => value & 0xffff,
            _ => value,
        };
        self.command(&format!("out{} {port:#x} {value:#x}", letter(width)));
    }

    fn load(&mut self, address: u64, len: usize) -> Vec<u8> {
        let answer = self.command(&format!("read {address:#x} {len:#x}"));
        let digits = answer.strip_prefix("0x").expect("bytes").as_bytes();
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16);
        digits
            .chunks(2)
            .map(|pair| byte(pair).expect("digits"))
            .collect()
    }

    fn store(&mut self, address: u64, data: &[u8]) {
        let digits: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        self.command(&format!("write {address:#x} {:#x} 0x{digits}", data.len()));
    }

    // Its main loop turns between two commands.
    fn breathe(&mut self) {}

    // By the reset control: its main loop resets the machine before it takes the next command.
    fn reset(&mut self) {
        self.command("outb 0xcf9 0x2");
        self.command("outb 0xcf9 0x6");
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
