//! What a test asks of a Linux guest and busybox lacks.
//!
//! | command | does |
//! |---|---|
//! | `probe touch MIB` | takes and writes that much memory, all of it at once, and gives it back |
//! | `probe vsock listen PORT` | says that it listens; of the first connection prints what comes and answers with its length |
//! | `probe vsock connect CID PORT TEXT` | sends the text and prints the answer |

use std::error::Error;
use std::io::{Read, Write};
use std::net::Shutdown;

use nix::sys::mman::{MlockAllFlags, mlockall};
use vsock::{VMADDR_CID_ANY, VsockListener, VsockStream};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["touch", mib] => touch(mib.parse()?),
        ["vsock", "listen", port] => listen(port.parse()?),
        ["vsock", "connect", cid, port, text] => connect(cid.parse()?, port.parse()?, text),
        _ => Err("touch MIB, vsock listen PORT or vsock connect CID PORT TEXT".into()),
    }
}

fn touch(mib: usize) -> Result<(), Box<dyn Error>> {
    // The kernel then fills memory as it hands it out, in one call in place of a fault a page.
    mlockall(MlockAllFlags::MCL_FUTURE)?;
    let memory = vec![0_u8; mib << 20];
    println!("touched {} bytes", std::hint::black_box(&memory).len());
    Ok(())
}

fn listen(port: u32) -> Result<(), Box<dyn Error>> {
    let listener = VsockListener::bind_with_cid_port(VMADDR_CID_ANY, port)?;
    println!("listening");
    let (mut stream, peer) = listener.accept()?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    println!("from {}: {text}", peer.cid());
    write!(stream, "{} bytes", text.len())?;
    Ok(())
}

fn connect(cid: u32, port: u32, text: &str) -> Result<(), Box<dyn Error>> {
    let mut stream = VsockStream::connect_with_cid_port(cid, port)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");
    Ok(())
}
