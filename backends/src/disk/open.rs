//! Opening an image with all that it stands on, in the process that knows names.
//!
//! **Which format?** What the user says; else the ending of the name (`.qcow2`, `.vmdk`, everything else raw), and
//! then the content has to agree. Content alone never settles it: a guest that has a raw image can write the header
//! of a qcow2 into it, and at the next start it would read any file of the host that it names there as its backing
//! file. For the same reason a qcow2 has to say of which format its backing file is.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imago::format::gate::ImplicitOpenGate;
use imago::qcow2::Qcow2;
use imago::raw::Raw;
use imago::vmdk::Vmdk;
use imago::{FormatAccess, FormatDriverBuilder, StorageOpenOptions};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use thiserror::Error;

use super::format::Format;
use super::qcow2_header;
use super::qcow2_order::Order;
use crate::image::{self, ImageError};
use crate::sys::image_file::ImageFile;

/// Images on top of each other at most.
const MAX_LAYERS: usize = 32;

/// Files of one vmdk at most.
const MAX_EXTENTS: usize = 256;

/// An image that cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] ImageError),
    /// The host has no direct I/O there.
    #[error("{} cannot be opened for direct I/O", .path.display())]
    Direct {
        /// The image.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// The user did not say the format, and name and content do not agree.
    #[error("{} is named like a {named} image and begins like a {found} one", .path.display())]
    Unclear {
        /// The image.
        path: PathBuf,
        /// By its name.
        named: Format,
        /// By its first bytes.
        found: Format,
    },
    /// Not what its format says.
    #[error("{} is no valid {format} image", .path.display())]
    Corrupt {
        /// The image.
        path: PathBuf,
        /// Its format.
        format: Format,
        /// What is wrong.
        source: io::Error,
    },
    /// A format that can only be read.
    #[error("{} cannot be written: {format} images are read only", .path.display())]
    ReadOnly {
        /// The image.
        path: PathBuf,
        /// Its format.
        format: Format,
    },
    /// The data is in another file.
    #[error("{} has its data in another file, which is not supported", .path.display())]
    DataFile {
        /// The image.
        path: PathBuf,
    },
    /// It does not say of which known format its backing file is.
    #[error("{} does not say which format its backing file {backing} has{}",
        .path.display(), .format.as_ref().map(|name| format!(", but {name:?}")).unwrap_or_default())]
    BackingFormat {
        /// The image.
        path: PathBuf,
        /// Its backing file, as it stands there.
        backing: String,
        /// What it says.
        format: Option<String>,
    },
    /// What it stands on cannot be opened.
    #[error("the backing file of {} cannot be used", .path.display())]
    Backing {
        /// The image.
        path: PathBuf,
        /// What is wrong with the file.
        source: Box<Self>,
    },
    /// It stands on itself.
    #[error("the backing files of {} lead back to itself", .path.display())]
    Loop {
        /// The first image that is met twice.
        path: PathBuf,
    },
    /// It stands on too many.
    #[error("{} stands on more than {MAX_LAYERS} backing files", .path.display())]
    Deep {
        /// The image.
        path: PathBuf,
    },
}

/// How an image is to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenOptions {
    /// What the user said.
    pub format: Option<Format>,
    /// It will not be written.
    pub read_only: bool,
    /// The host's page cache is not used.
    pub direct: bool,
}

/// An image with all that it stands on: open, locked, and as good in a process that may open nothing.
#[derive(Debug)]
pub struct Opened {
    /// The image itself is the first.
    pub(crate) layers: Vec<Layer>,
    pub(crate) read_only: bool,
}

/// One image of a stack.
#[derive(Debug)]
pub(crate) struct Layer {
    pub path: PathBuf,
    pub format: Format,
    pub file: File,
    /// The files that a vmdk names, in their order.
    pub extents: Vec<File>,
}

/// Opens and locks an image and all that it stands on. Only the image itself is opened for writing.
///
/// # Errors
/// When one of the files cannot be had, or is not what it should be.
pub fn open(path: &Path, options: &OpenOptions) -> Result<Opened, OpenError> {
    let file = open_file(path, options.read_only, options.direct)?;
    let format = match options.format {
        Some(format) => format,
        None => settle(path, &file)?,
    };
    if format == Format::Vmdk && !options.read_only {
        let path = path.to_owned();
        return Err(OpenError::ReadOnly { path, format });
    }
    let mut layers: Vec<Layer> = Vec::new();
    let mut next = Some((path.to_owned(), file, format));
    while let Some((path, file, format)) = next {
        if layers.len() > MAX_LAYERS {
            return Err(OpenError::Deep { path });
        }
        let mut layer = Layer {
            path,
            format,
            file,
            extents: Vec::new(),
        };
        let below = look(&mut layer, options.direct)?;
        layers.push(layer);
        next = match below {
            Some((name, format)) => Some(open_below(&layers, &name, format, options.direct)?),
            None => None,
        };
    }
    Ok(Opened {
        layers,
        read_only: options.read_only,
    })
}

fn open_file(path: &Path, read_only: bool, direct: bool) -> Result<File, OpenError> {
    let file = image::open(path, read_only)?;
    if direct {
        fcntl_getfl(&file)
            .and_then(|flags| fcntl_setfl(&file, flags | OFlags::DIRECT))
            .map_err(|error| OpenError::Direct {
                path: path.to_owned(),
                source: error.into(),
            })?;
    }
    Ok(file)
}

/// The format of an image that the user did not name.
fn settle(path: &Path, file: &File) -> Result<Format, OpenError> {
    let named = Format::of_name(path);
    let found = first_bytes(path, file)?;
    if named == found {
        Ok(found)
    } else {
        Err(OpenError::Unclear {
            path: path.to_owned(),
            named,
            found,
        })
    }
}

fn first_bytes(path: &Path, file: &File) -> Result<Format, OpenError> {
    plainly(file, Format::of_content).map_err(|source| {
        ImageError::Open {
            path: path.to_owned(),
            source,
        }
        .into()
    })
}

/// Reads without direct I/O, which would want a page for a few bytes.
fn plainly<T>(file: &File, read: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
    let flags = fcntl_getfl(file);
    let plain = flags.and_then(|flags| fcntl_setfl(file, flags - OFlags::DIRECT));
    let found = read(file);
    let back = flags.and_then(|flags| fcntl_setfl(file, flags));
    plain.and(back).map_err(io::Error::from).and(found)
}

/// Looks into an image: what it stands on, by name. Opens the files of a vmdk.
fn look(layer: &mut Layer, direct: bool) -> Result<Option<(String, Format)>, OpenError> {
    let path = || layer.path.clone();
    let format = layer.format;
    let corrupt = |source| OpenError::Corrupt {
        path: path(),
        format,
        source,
    };
    let file = || ImageFile::new(layer.file.try_clone()?);
    match format {
        Format::Raw => Ok(None),
        Format::Qcow2 => {
            let image: Qcow2<ImageFile> = plainly(&layer.file, qcow2_header::check)
                .and_then(|()| file())
                .and_then(|file| Qcow2::open_image(file, false))
                .map_err(corrupt)?;
            if image.requires_external_data_file() {
                return Err(OpenError::DataFile { path: path() });
            }
            let Some(backing) = image.implicit_backing_file() else {
                return Ok(None);
            };
            let named = image.implicit_backing_format();
            match named.map(|name| name.parse()) {
                Some(Ok(format)) => Ok(Some((backing.clone(), format))),
                _ => Err(OpenError::BackingFormat {
                    path: path(),
                    backing: backing.clone(),
                    format: named.cloned(),
                }),
            }
        }
        Format::Vmdk => {
            let mut gate = ExtentOpener {
                folder: layer.path.parent().unwrap_or_else(|| Path::new("")),
                direct,
                opened: Vec::new(),
                refused: None,
            };
            let opened = file()
                .and_then(|file| Vmdk::<ImageFile>::open_image(file, false))
                .and_then(|mut image| image.open_implicit_dependencies_gated(&mut gate));
            let ExtentOpener {
                opened: extents,
                refused,
                ..
            } = gate;
            if let Some(error) = refused {
                return Err(OpenError::Backing {
                    path: path(),
                    source: Box::new(error),
                });
            }
            opened.map_err(corrupt)?;
            layer.extents = extents;
            Ok(None)
        }
    }
}

/// Opens the backing file of the last layer.
fn open_below(
    layers: &[Layer],
    name: &str,
    format: Format,
    direct: bool,
) -> Result<(PathBuf, File, Format), OpenError> {
    let above = layers
        .last()
        .map_or_else(|| Path::new(""), |layer| &layer.path);
    // An absolute name replaces the folder.
    let path = above.parent().unwrap_or_else(|| Path::new("")).join(name);
    // Before it is locked: a file that is met twice is no other VM's.
    let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    if let Ok(found) = std::fs::metadata(&path).map(identity) {
        for layer in layers {
            if layer.file.metadata().map(identity).ok() == Some(found) {
                return Err(OpenError::Loop {
                    path: layer.path.clone(),
                });
            }
        }
    }
    let file = open_file(&path, true, direct).map_err(|error| OpenError::Backing {
        path: above.to_owned(),
        source: Box::new(error),
    })?;
    Ok((path, file, format))
}

/// Opens the files that a vmdk names, and keeps them.
struct ExtentOpener<'a> {
    folder: &'a Path,
    direct: bool,
    opened: Vec<File>,
    refused: Option<OpenError>,
}

/// Hands out files that were opened before, in the same order.
struct Handed(std::vec::IntoIter<File>);

fn no_format<T>() -> io::Result<T> {
    Err(io::ErrorKind::PermissionDenied.into())
}

impl ImplicitOpenGate<ImageFile> for &mut ExtentOpener<'_> {
    fn open_format<F: FormatDriverBuilder<ImageFile>>(
        &mut self,
        _builder: F,
    ) -> io::Result<FormatAccess<ImageFile>> {
        no_format()
    }

    fn open_storage(&mut self, builder: StorageOpenOptions) -> io::Result<ImageFile> {
        let name = builder.get_filename().unwrap_or_else(|| Path::new(""));
        if self.opened.len() >= MAX_EXTENTS {
            return Err(io::Error::other(format!(
                "it has more than {MAX_EXTENTS} files"
            )));
        }
        match open_file(&self.folder.join(name), true, self.direct) {
            Ok(file) => {
                self.opened.push(file.try_clone()?);
                ImageFile::new(file)
            }
            Err(error) => {
                self.refused = Some(error);
                no_format()
            }
        }
    }
}

impl ImplicitOpenGate<ImageFile> for Handed {
    fn open_format<F: FormatDriverBuilder<ImageFile>>(
        &mut self,
        _builder: F,
    ) -> io::Result<FormatAccess<ImageFile>> {
        no_format()
    }

    fn open_storage(&mut self, _builder: StorageOpenOptions) -> io::Result<ImageFile> {
        self.0.next().map_or_else(no_format, ImageFile::new)
    }
}

impl Opened {
    /// The image's format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.layers.first().map_or(Format::Raw, |top| top.format)
    }

    /// Every descriptor of it: what a process keeps that will use it.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.layers
            .iter()
            .flat_map(|layer| layer.extents.iter().chain([&layer.file]))
            .map(AsFd::as_fd)
    }

    /// The same image again, for another start of a machine.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let layers = self.layers.iter().map(|layer| {
            let extents = layer.extents.iter().map(File::try_clone);
            Ok(Layer {
                path: layer.path.clone(),
                format: layer.format,
                file: layer.file.try_clone()?,
                extents: extents.collect::<io::Result<_>>()?,
            })
        });
        Ok(Self {
            layers: layers.collect::<io::Result<_>>()?,
            read_only: self.read_only,
        })
    }

    /// The file of a raw image; another image is given back.
    pub(crate) fn into_raw(mut self) -> Result<File, Self> {
        match self.layers.pop_if(|layer| layer.format == Format::Raw) {
            Some(layer) if self.layers.is_empty() => Ok(layer.file),
            layer => {
                self.layers.extend(layer);
                Err(self)
            }
        }
    }

    /// As imago reads and writes it, and the order of a qcow2 that is written. Opens nothing.
    pub(crate) fn access(self) -> io::Result<(FormatAccess<ImageFile>, Option<Arc<Order>>)> {
        let writable = !self.read_only;
        let mut below: Option<FormatAccess<ImageFile>> = None;
        let mut order = None;
        for (index, layer) in self.layers.into_iter().enumerate().rev() {
            let writable = writable && index == 0;
            let file = if writable && layer.format == Format::Qcow2 {
                ImageFile::ordered(layer.file)?
            } else {
                ImageFile::new(layer.file)?
            };
            order = file.order();
            let access = match layer.format {
                Format::Raw => FormatAccess::new(Raw::open_image(file, writable)?),
                Format::Qcow2 => {
                    let mut image = Qcow2::open_image(file, writable)?;
                    image.set_data_file(None);
                    image.set_backing(below.take());
                    FormatAccess::new(image)
                }
                Format::Vmdk => {
                    let mut image: Vmdk<ImageFile> = Vmdk::open_image(file, false)?;
                    image.open_implicit_dependencies_gated(Handed(layer.extents.into_iter()))?;
                    FormatAccess::new(image)
                }
            };
            below = Some(access);
        }
        let access = below.ok_or(io::ErrorKind::InvalidInput)?;
        Ok((access, order))
    }
}
