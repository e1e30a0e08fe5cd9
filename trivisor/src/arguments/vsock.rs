//! `CID,PATH`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::settings::text_form;

/// A socket device as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VsockArgument {
    /// The guest's context identifier.
    pub(crate) cid: u32,
    /// Where programs of the host connect; the guest's own connections go to this path with `_PORT`.
    pub(crate) path: PathBuf,
}

impl FromStr for VsockArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (cid, path) = text.split_once(',').unwrap_or((text, ""));
        if path.is_empty() {
            return Err(format!("{text:?}: CID,PATH, such as 3,/run/vm.vsock"));
        }
        // 0 and 1 are reserved, 2 is the host, the last one is everybody (virtio 1.3, 5.10.4).
        let cid = cid.parse().ok().filter(|cid| (3..u32::MAX).contains(cid));
        Ok(Self {
            cid: cid
                .ok_or_else(|| format!("{text:?}: the guest's number is 3 to {}", u32::MAX - 1))?,
            path: path.into(),
        })
    }
}

impl fmt::Display for VsockArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.cid, self.path.display())
    }
}

text_form!(VsockArgument);
