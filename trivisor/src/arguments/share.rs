//! `DIR,TAG[,ro]`.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use trivisor_devices_pv::vhost_user::TAG_LEN;

/// A folder of the host for the guest, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ShareArgument {
    pub(crate) dir: PathBuf,
    /// What the guest mounts it by.
    #[serde(deserialize_with = "checked_tag")]
    pub(crate) tag: String,
    /// The guest cannot change it.
    #[serde(default)]
    pub(crate) ro: bool,
}

impl FromStr for ShareArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?}: DIR,TAG[,ro], such as /srv/data,data,ro");
        let (rest, ro) = match text.strip_suffix(",ro") {
            // A folder may be shared under this tag.
            Some(rest) if rest.contains(',') => (rest, true),
            _ => (text, false),
        };
        // The folder's name may have commas.
        let (dir, tag) = rest.rsplit_once(',').ok_or_else(usage)?;
        if dir.is_empty() {
            return Err(usage());
        }
        Ok(Self {
            dir: dir.into(),
            tag: check_tag(tag)?,
            ro,
        })
    }
}

fn check_tag(tag: &str) -> Result<String, String> {
    if (1..=TAG_LEN).contains(&tag.len()) {
        Ok(tag.into())
    } else {
        Err(format!("the tag {tag:?} has not 1 to {TAG_LEN} bytes"))
    }
}

fn checked_tag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let tag = String::deserialize(deserializer)?;
    check_tag(&tag).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_may_have_commas_and_tags_not() {
        for (text, dir, tag, ro) in [
            ("/srv,data", "/srv", "data", false),
            ("/srv,data,ro", "/srv", "data", true),
            ("/srv,ro", "/srv", "ro", false),
            ("/a,b,data,ro", "/a,b", "data", true),
        ] {
            let share = text.parse::<ShareArgument>().unwrap();
            assert_eq!(
                (share.dir, share.tag, share.ro),
                (dir.into(), tag.into(), ro)
            );
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let long = format!("/srv,{}", "x".repeat(37));
        for (text, wanted) in [
            ("/srv", "DIR,TAG"),
            (",tag", "DIR,TAG"),
            ("/srv,", "1 to 36 bytes"),
            (&long, "1 to 36 bytes"),
        ] {
            let error = text.parse::<ShareArgument>().unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
