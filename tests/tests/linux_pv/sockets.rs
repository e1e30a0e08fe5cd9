//! Streams between programs of the guest and of the host.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use trivisor_tests::Session;

const PATIENCE: Duration = Duration::from_secs(300);
/// More than one of the device's buffers.
const LONG: usize = 9000;

/// Either side calls the other. `path` is the device's.
pub(crate) fn call_each_other(vm: &mut Session, path: &Path) {
    let listener = UnixListener::bind(format!("{}_5000", path.display())).unwrap();
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        stream.write_all(b"the host heard").unwrap();
        text
    });
    let call = "probe vsock connect 2 5000 'said by the guest'";
    assert_eq!(vm.shell(call), "the host heard");
    assert_eq!(host.join().unwrap(), "said by the guest");

    vm.type_line("probe vsock listen 6000");
    vm.expect("listening");
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut reader, mut writer) = (BufReader::new(&stream), &stream);
    writer.write_all(b"CONNECT 6000\n").unwrap();
    let mut answer = String::new();
    reader.read_line(&mut answer).unwrap();
    assert!(answer.starts_with("OK "), "{answer}");
    let text = format!("{}ends here", "-".repeat(LONG));
    writer.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    vm.expect("from 2: ---");
    vm.expect("ends here");
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, format!("{} bytes", text.len()));
}
