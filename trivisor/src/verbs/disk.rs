//! `trivisor disk`: makes, describes and converts images.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::Serialize;
use trivisor_backends::disk::{self, Format, ManageError};

use crate::arguments::{parse_size, show_size};
use crate::failure::{Failure, chain};
use crate::plan::virtio::no_image;

/// What is to be done.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum DiskVerb {
    /// Make an image of zeros, or one on top of another
    Create {
        /// The new image
        file: PathBuf,
        /// Bytes of the disk, such as 10G [default: the backing image's]
        #[arg(value_parser = parse_size)]
        size: Option<u64>,
        /// raw or qcow2 [default: what its name says]
        #[arg(long)]
        format: Option<Format>,
        /// An image that it reads as, where it is not written (qcow2)
        #[arg(long, value_name = "FILE", requires = "backing_format")]
        backing: Option<PathBuf>,
        /// That image's format
        #[arg(long, value_name = "FORMAT", requires = "backing")]
        backing_format: Option<Format>,
    },
    /// Tell what an image is
    Info {
        /// The image
        file: PathBuf,
        /// Its format [default: what its name and first bytes agree on]
        #[arg(long)]
        format: Option<Format>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make an image with what another one holds
    Convert {
        /// The image to read
        from: PathBuf,
        /// The new image
        to: PathBuf,
        /// Format of the image to read [default: what its name and first bytes agree on]
        #[arg(long, value_name = "FORMAT")]
        from_format: Option<Format>,
        /// Format of the new image: raw or qcow2
        #[arg(long)]
        format: Format,
    },
}

/// What `info --json` prints.
#[derive(Debug, Serialize)]
struct Description {
    format: String,
    capacity: u64,
    stored: u64,
    backing: Vec<(PathBuf, String)>,
}

/// Does it; what there is to print.
pub(crate) fn disk(verb: DiskVerb) -> Result<String, Failure> {
    match verb {
        DiskVerb::Create {
            file,
            size,
            format,
            backing,
            backing_format,
        } => {
            let format = format.unwrap_or_else(|| Format::of_name(&file));
            let backing = backing.as_deref().zip(backing_format);
            disk::create(&file, format, size, backing).map_err(|error| explain(&error))?;
            Ok(String::new())
        }
        DiskVerb::Info { file, format, json } => describe(&file, format, json),
        DiskVerb::Convert {
            from,
            to,
            from_format,
            format,
        } => {
            disk::convert(&from, from_format, &to, format).map_err(|error| explain(&error))?;
            Ok(String::new())
        }
    }
}

fn describe(file: &Path, format: Option<Format>, json: bool) -> Result<String, Failure> {
    let info = disk::info(file, format).map_err(|error| explain(&error))?;
    let description = Description {
        format: info.format.to_string(),
        capacity: info.capacity,
        stored: info.stored,
        backing: info
            .backing
            .into_iter()
            .map(|(path, format)| (path, format.to_string()))
            .collect(),
    };
    if json {
        // Strings, numbers and lists of them always have a JSON form.
        return Ok(serde_json::to_string(&description).unwrap_or_default() + "\n");
    }
    let mut text = String::new();
    // A string takes everything.
    let _always = writeln!(text, "format    {}", description.format);
    let _always = writeln!(text, "capacity  {}", show_size(description.capacity));
    let _always = writeln!(text, "stored    {}", show_size(description.stored));
    for (path, format) in &description.backing {
        let _always = writeln!(text, "backing   {} ({format})", path.display());
    }
    Ok(text)
}

/// What the user can do.
fn explain(error: &ManageError) -> Failure {
    let advice = match error {
        ManageError::Open(error) => return no_image(error),
        ManageError::Size { .. } => "choose a size such as 10G",
        ManageError::NoSize => "add one, such as 10G",
        ManageError::NoBacking { .. } => "choose --format qcow2",
        ManageError::ReadOnly { .. } => "choose raw or qcow2",
        ManageError::Create { .. } => "choose a name that is free, where there is room",
        ManageError::Read { .. } => "look at the storage behind it",
    };
    Failure::usage(format!("disk {}", chain(error)), advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(
        file: &Path,
        size: Option<u64>,
        format: impl Into<Option<Format>>,
        backing: Option<&Path>,
    ) -> Result<String, Failure> {
        disk(DiskVerb::Create {
            file: file.into(),
            size,
            format: format.into(),
            backing: backing.map(Into::into),
            backing_format: backing.map(|_| Format::Raw),
        })
    }

    #[test]
    fn an_image_is_made_described_and_converted() {
        let folder = tempfile::tempdir().unwrap();
        let [raw, over, copy] = ["a.img", "b.qcow2", "c.img"].map(|name| folder.path().join(name));
        create(&raw, Some(1 << 20), Format::Raw, None).unwrap();
        create(&over, None, None, Some(&raw)).unwrap();
        let text = describe(&over, None, false).unwrap();
        assert!(
            text.starts_with("format    qcow2\ncapacity  1M\n"),
            "{text}"
        );
        assert!(text.contains("a.img (raw)"), "{text}");
        let json = describe(&over, None, true).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["capacity"], 1 << 20);
        let convert = DiskVerb::Convert {
            from: over,
            to: copy.clone(),
            from_format: None,
            format: Format::Raw,
        };
        assert_eq!(disk(convert).unwrap(), "");
        assert_eq!(std::fs::metadata(&copy).unwrap().len(), 1 << 20);
    }

    #[test]
    fn what_cannot_be_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.img");
        let failures = [
            (create(&file, None, Format::Raw, None), "needs a size"),
            (
                create(&file, Some(1000), Format::Raw, None),
                "multiple of 512",
            ),
            (create(&file, Some(512), Format::Vmdk, None), "read only"),
            (
                create(&file, Some(512), Format::Raw, Some(&file)),
                "no backing file",
            ),
            (describe(&file, None, false), "does not exist"),
        ];
        for (failure, wanted) in failures {
            let failure = failure.unwrap_err();
            assert!(failure.what.contains(wanted), "{}", failure.what);
            assert!(!failure.advice.is_empty());
        }
        assert!(!file.exists());
    }
}
