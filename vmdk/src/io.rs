//! Bytes at positions: what a disk is read from and written to.
//!
//! Files implement both traits; so can a ranged download, a connection to a host, or another disk.

use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

/// Something of a known size that can be read at any position, by several threads at once.
pub trait ReadAt: Send + Sync {
    /// Fills the whole buffer from `offset` (in bytes) on.
    ///
    /// # Errors
    /// `UnexpectedEof` when fewer bytes are there, and whatever the storage says.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The size in bytes.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn size(&self) -> io::Result<u64>;
}

/// Something that can be written at any position, too.
pub trait WriteAt: ReadAt {
    /// Writes all bytes from `offset` (in bytes) on, and grows what is too small; a gap reads as zeros.
    ///
    /// # Errors
    /// Whatever the storage says. What was written until then is not known.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes it `size` bytes large. What is new reads as zeros, without being stored if the storage can do that.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Returns when all that was written so far survives a loss of power.
    ///
    /// # Errors
    /// Whatever the storage says. What was written since the last success may be lost.
    fn sync(&self) -> io::Result<()>;
}

impl ReadAt for File {
    #[cfg(unix)]
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, buffer, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let metadata = self.metadata()?;
        if metadata.is_file() {
            return Ok(metadata.len());
        }
        // A block device has no length but an end.
        io::Seek::seek(&mut &*self, io::SeekFrom::End(0))
    }
}

impl WriteAt for File {
    #[cfg(unix)]
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(self, bytes, offset)
    }

    #[cfg(windows)]
    fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(self, bytes, offset)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
            }
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).ok().and_then(|start| self.get(start..)?.get(..buffer.len()));
        buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A file in memory. Clones are the same file.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<RwLock<Vec<u8>>>);

impl Memory {
    /// A file with this content.
    pub fn new(content: Vec<u8>) -> Self {
        Self(Arc::new(RwLock::new(content)))
    }

    /// A copy of the content.
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ReadAt for Memory {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).size()
    }
}

impl WriteAt for Memory {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        let mut content = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if content.len() < end {
            content.resize(end, 0);
        }
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let size = usize::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).resize(size, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A part of something else: a disk within an OVA, which is a tar file.
#[derive(Debug, Clone)]
pub struct Window<R> {
    inner: R,
    start: u64,
    size: u64,
}

impl<R: ReadAt> Window<R> {
    /// The `size` bytes of `inner` from `start` on. Reading behind their end is `UnexpectedEof`, whatever follows there.
    pub fn new(inner: R, start: u64, size: u64) -> Self {
        Self { inner, start, size }
    }
}

impl<R: ReadAt> ReadAt for Window<R> {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        let start = self.start.checked_add(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
        if end > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.inner.read_exact_at(buffer, start)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<R: ReadAt + ?Sized> ReadAt for $pointer {
            fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
                (**self).read_exact_at(buffer, offset)
            }

            fn size(&self) -> io::Result<u64> {
                (**self).size()
            }
        }

        impl<R: WriteAt + ?Sized> WriteAt for $pointer {
            fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
                (**self).write_all_at(bytes, offset)
            }

            fn set_size(&self, size: u64) -> io::Result<()> {
                (**self).set_size(size)
            }

            fn sync(&self) -> io::Result<()> {
                (**self).sync()
            }
        }
    )*};
}
forward!(&R, Box<R>, Arc<R>);
