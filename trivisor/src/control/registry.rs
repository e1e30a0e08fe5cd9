//! Running VMs are sockets under `$XDG_RUNTIME_DIR/trivisor/NAME/`: there is no daemon.

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::protocol::Counters;

const SOCKET: &str = "control.sock";

/// A VM answers at once; one that has not by then is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the other verbs ask of a running VM: a line of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    Info,
    Pause,
    Resume,
    PowerButton,
    Stop,
}

/// Its answer: a line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    Done,
    Refused(String),
    Info(Box<Info>),
}

/// A running VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Info {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) vm_pid: u32,
    pub(crate) mode: String,
    pub(crate) state: String,
    pub(crate) cpus: u8,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) seconds: u64,
    pub(crate) counters: Counters,
}

/// The folder of all of this user's VMs.
fn folder() -> PathBuf {
    let user = rustix::process::geteuid();
    match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if user.is_root() => "/run/trivisor".into(),
        Some(folder) if !folder.is_empty() => PathBuf::from(folder).join("trivisor"),
        _ => std::env::temp_dir().join(format!("trivisor-{}", user.as_raw())),
    }
}

/// A VM's place in the registry, until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    folder: PathBuf,
    listener: UnixListener,
}

impl Registration {
    /// Takes the name.
    pub(crate) fn new(name: &str) -> Result<Self, Failure> {
        let all = folder();
        let folder = all.join(name);
        let failed = |error: io::Error| {
            Failure::host(
                format!("{} cannot be created: {error}", folder.display()),
                "set XDG_RUNTIME_DIR to a folder that this user may write",
            )
        };
        let create = |folder: &PathBuf| DirBuilder::new().mode(0o700).create(folder);
        let created = match create(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&all)
                    .map_err(failed)?;
                create(&folder)
            }
            created => created,
        };
        // A folder in a place that all may write could be somebody else's.
        let owner = fs::metadata(&all).map_err(failed)?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(Failure::host(
                format!("{} belongs to user {owner}", all.display()),
                "set XDG_RUNTIME_DIR to a folder of this user's own",
            ));
        }
        let socket = folder.join(SOCKET);
        match created {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                check_free(name)?;
                // Left behind by a VM that was killed; an error shows when the name is bound.
                let _stale = fs::remove_file(&socket);
            }
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { folder, listener })
    }

    pub(crate) const fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // What stays behind is replaced by the next VM of this name.
        let _left = fs::remove_file(self.folder.join(SOCKET));
        let _left = fs::remove_dir(&self.folder);
    }
}

/// Fails when a VM with this name is running.
pub(crate) fn check_free(name: &str) -> Result<(), Failure> {
    if UnixStream::connect(folder().join(name).join(SOCKET)).is_err() {
        return Ok(());
    }
    Err(Failure::usage(
        format!("a VM with the name {name:?} is running"),
        "choose another with --name, or stop it with `trivisor stop`",
    ))
}

/// Reads one call from a client that has just connected.
pub(crate) fn read_call(client: &UnixStream) -> io::Result<Call> {
    client.set_read_timeout(Some(Duration::from_secs(1)))?;
    client.set_write_timeout(Some(Duration::from_secs(1)))?;
    read_line(client)
}

/// Writes the answer.
pub(crate) fn write_reply(mut client: &UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    client.write_all(&line)
}

fn read_line<T: serde::de::DeserializeOwned>(stream: &UnixStream) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(io::Read::take(stream, 1 << 16)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Asks a running VM.
pub(crate) fn call(name: &str, call: Call) -> Result<Reply, Failure> {
    let missing = || {
        let names: Vec<String> = running();
        let advice = if names.is_empty() {
            "no VM of this user is running".into()
        } else {
            format!("running: {}", names.join(", "))
        };
        Failure::usage(format!("no VM with the name {name:?}"), advice)
    };
    if name.contains('/') {
        return Err(missing());
    }
    let mut stream =
        UnixStream::connect(folder().join(name).join(SOCKET)).map_err(|_| missing())?;
    let ask = || -> io::Result<Reply> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(&call)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        read_line(&stream)
    };
    let mut ask = ask;
    ask().map_err(|error| {
        Failure::host(
            format!("VM {name:?} does not answer: {error}"),
            "it may have ended just now; see `trivisor ps`",
        )
    })
}

/// The names of this user's VMs; one that was killed may still be among them.
pub(crate) fn running() -> Vec<String> {
    let entries = fs::read_dir(folder()).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join(SOCKET).exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
