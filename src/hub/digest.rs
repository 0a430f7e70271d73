//! The two hashes by which the hub names content.

use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{HubError, Result, is_hex};

/// What a file's bytes must hash to; its hex is also the name of the blob in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Large files.
    Sha256(String),
    /// Files that live in git itself: SHA-1 over `blob LENGTH\0` and the bytes.
    Git(String),
}

impl Digest {
    /// Reads an ETag or a field of the API; `None` for what is neither hash.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches("W/").trim_matches('"');
        match text {
            t if is_hex(t, 64) => Some(Self::Sha256(t.into())),
            t if is_hex(t, 40) => Some(Self::Git(t.into())),
            _ => None,
        }
    }

    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(h) | Self::Git(h) => h,
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "git hash",
        }
    }

    /// The same kind of hash over a file.
    pub fn of_file(&self, path: &Path) -> Result<String> {
        let mut file = std::fs::File::open(path).map_err(HubError::io(path, "read"))?;
        let length = file.metadata().map_err(HubError::io(path, "read"))?.len();
        match self {
            Self::Sha256(_) => hash(Sha256::new(), &mut file),
            Self::Git(_) => hash(Sha1::new().chain_update(format!("blob {length}\0")), &mut file),
        }
        .map_err(HubError::io(path, "read"))
    }
}

fn hash(mut hash: impl sha2::Digest, file: &mut impl Read) -> std::io::Result<String> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            n => hash.update(&buffer[..n]),
        }
    }
}
