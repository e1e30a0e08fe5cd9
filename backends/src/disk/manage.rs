//! Making, describing and converting images, for the verbs of the command line.

use std::fs::{File, OpenOptions as FileOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use imago::FormatCreateBuilder;
use imago::qcow2::Qcow2;
use thiserror::Error;

use super::format::Format;
use super::open::{OpenError, OpenOptions, open};
use crate::sys::image_file::ImageFile;

/// Bytes that are converted at a time.
const CHUNK: usize = 1 << 20;

/// What can go wrong with an image on the command line.
#[derive(Debug, Error)]
pub enum ManageError {
    /// An image that is there cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Not a positive multiple of the sector.
    #[error("a disk of {size} bytes: its size has to be a positive multiple of 512 bytes")]
    Size {
        /// Bytes asked for.
        size: u64,
    },
    /// No size was given, and no backing file to take it from.
    #[error("a disk without a backing file needs a size")]
    NoSize,
    /// Only qcow2 images stand on others.
    #[error("a {format} image has no backing file")]
    NoBacking {
        /// The format asked for.
        format: Format,
    },
    /// A format that can only be read.
    #[error("{format} images are read only: none can be made")]
    ReadOnly {
        /// The format asked for.
        format: Format,
    },
    /// There is a file of that name already, or it cannot be made.
    #[error("{} cannot be made", .path.display())]
    Create {
        /// The new image.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// It cannot be read to its end.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
}

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// How it holds the disk.
    pub format: Format,
    /// Bytes of the disk.
    pub capacity: u64,
    /// Bytes that the image takes on the host, without what it stands on.
    pub stored: u64,
    /// What it stands on, nearest first.
    pub backing: Vec<(PathBuf, Format)>,
}

/// Makes an image of zeros, or one that reads as another as long as it is not written.
///
/// The name of the backing file is kept as it is given; if it is relative, it starts at the new image's folder. `size`
/// is the backing file's if none is given.
///
/// # Errors
/// When it is there already, the backing file cannot be opened, or the host refuses. No file stays.
pub fn create(
    path: &Path,
    format: Format,
    size: Option<u64>,
    backing: Option<(&Path, Format)>,
) -> Result<(), ManageError> {
    match (format, backing) {
        (Format::Vmdk, _) => return Err(ManageError::ReadOnly { format }),
        (Format::Raw, Some(_)) => return Err(ManageError::NoBacking { format }),
        _ => {}
    }
    let size = match (size, backing) {
        (Some(size), None) => size,
        (size, Some((name, format))) => {
            let folder = path.parent().unwrap_or_else(|| Path::new(""));
            let below = info(&folder.join(name), Some(format))?.capacity;
            size.unwrap_or(below)
        }
        (None, None) => return Err(ManageError::NoSize),
    };
    if size == 0 || !size.is_multiple_of(512) {
        return Err(ManageError::Size { size });
    }
    make(path, |file| fill_new(file, format, size, backing))
}

/// Makes a file with what `fill` does to it, or none.
fn make(path: &Path, fill: impl FnOnce(File) -> io::Result<()>) -> Result<(), ManageError> {
    let failed = |source| ManageError::Create {
        path: path.to_owned(),
        source,
    };
    let file = FileOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    fill(file).map_err(|error| {
        // Half an image is of no use; that it stays is no second error.
        let _stays = std::fs::remove_file(path);
        failed(error)
    })
}

fn fill_new(
    file: File,
    format: Format,
    size: u64,
    backing: Option<(&Path, Format)>,
) -> io::Result<()> {
    if format == Format::Raw {
        return file.set_len(size);
    }
    let mut builder = Qcow2::<ImageFile>::create_builder(ImageFile::new(file)?).size(size);
    if let Some((name, format)) = backing {
        let name = name.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        builder = builder.backing(name.to_owned(), format.to_string());
    }
    builder.create()
}

/// Describes an image; its format is settled as [`open`] does if it is not given.
///
/// # Errors
/// When it or what it stands on cannot be opened.
pub fn info(path: &Path, format: Option<Format>) -> Result<Info, ManageError> {
    let failed = |source| ManageError::Read {
        path: path.to_owned(),
        source,
    };
    let options = OpenOptions {
        format,
        read_only: true,
        direct: false,
    };
    let opened = open(path, &options)?;
    let format = opened.format();
    let mut stored = 0;
    let top = opened.layers.first();
    for file in top
        .iter()
        .flat_map(|top| top.extents.iter().chain([&top.file]))
    {
        stored += file.metadata().map_err(failed)?.blocks() * 512;
    }
    let below = opened.layers.iter().skip(1);
    let backing = below
        .map(|layer| (layer.path.clone(), layer.format))
        .collect();
    let capacity = opened.access().map_err(failed)?.0.size();
    Ok(Info {
        format,
        capacity,
        stored,
        backing,
    })
}

/// Reads the disk's bytes from `offset` on. The image is locked only meanwhile; behind the end of the disk are zeros.
///
/// # Errors
/// When it or what it stands on cannot be opened or read.
pub fn peek(path: &Path, format: Format, offset: u64, data: &mut [u8]) -> Result<(), ManageError> {
    let failed = |source| ManageError::Read {
        path: path.to_owned(),
        source,
    };
    let options = OpenOptions {
        format: Some(format),
        read_only: true,
        direct: false,
    };
    let (disk, _) = open(path, &options)?.access().map_err(failed)?;
    data.fill(0);
    let left = disk.size().saturating_sub(offset);
    let len = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
    disk.read(data.get_mut(..len).unwrap_or_default(), offset)
        .map_err(failed)
}

/// Makes `to` with what the disk of `from` holds; zeros take no storage. The new image stands on nothing.
///
/// # Errors
/// When `from` cannot be read, `to` is there already, or the host refuses. No file stays.
pub fn convert(
    from: &Path,
    from_format: Option<Format>,
    to: &Path,
    format: Format,
) -> Result<(), ManageError> {
    if format == Format::Vmdk {
        return Err(ManageError::ReadOnly { format });
    }
    let unread = |source| ManageError::Read {
        path: from.to_owned(),
        source,
    };
    let options = OpenOptions {
        format: from_format,
        read_only: true,
        direct: false,
    };
    let (source, _) = open(from, &options)?.access().map_err(unread)?;
    let size = source.size();
    if size == 0 || !size.is_multiple_of(512) {
        return Err(ManageError::Size { size });
    }
    let mut read_error = None;
    let made = make(to, |file| {
        let target = Target::new(file, format, size)?;
        let mut data = vec![0; CHUNK];
        let mut offset = 0;
        while offset < size {
            let len = usize::try_from(size - offset).map_or(CHUNK, |rest| rest.min(CHUNK));
            let part = data.get_mut(..len).unwrap_or_default();
            if let Err(error) = source.read(&mut *part, offset) {
                read_error = Some(error);
                return Err(io::ErrorKind::Other.into());
            }
            target.write(part, offset)?;
            offset += len as u64;
        }
        target.finish()
    });
    match read_error {
        Some(error) => Err(unread(error)),
        None => made,
    }
}

/// The image that is made by a conversion.
enum Target {
    Raw(File),
    Other(imago::FormatAccess<ImageFile>),
}

impl Target {
    fn new(file: File, format: Format, size: u64) -> io::Result<Self> {
        fill_new(file.try_clone()?, format, size, None)?;
        Ok(match format {
            Format::Raw => Self::Raw(file),
            _ => {
                let mut image: Qcow2<ImageFile> = Qcow2::open_image(ImageFile::new(file)?, true)?;
                image.set_data_file(None);
                image.set_backing(None);
                Self::Other(imago::FormatAccess::new(image))
            }
        })
    }

    /// Leaves out what is zeros, by clusters of qcow2.
    fn write(&self, data: &[u8], offset: u64) -> io::Result<()> {
        const BLOCK: usize = 65536;
        let mut at = offset;
        for block in data.chunks(BLOCK) {
            if block.iter().any(|byte| *byte != 0) {
                match self {
                    Self::Raw(file) => file.write_all_at(block, at)?,
                    Self::Other(image) => image.write(block, at)?,
                }
            }
            at += block.len() as u64;
        }
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Raw(file) => file.sync_all(),
            Self::Other(image) => {
                image.flush()?;
                image.sync()
            }
        }
    }
}
