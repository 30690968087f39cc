//! One file from the Hub into the cache: continued where it was left, and kept only if it is what was announced.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::{Response, StatusCode};

use crate::address::{Address, malformed};
use crate::cache::{Presence, Repository};
use crate::client::{Client, Head, header};
use crate::description::RemoteFile;
use crate::error::HubError;
use crate::id::{Commit, HubId};
use crate::retries::Failure;
use crate::step::{Meter, Step};

const CHUNK: usize = 128 * 1024;

/// Downloads the files of one commit.
pub(crate) struct Download<'a> {
    pub(crate) client: &'a Client,
    pub(crate) repository: &'a Repository,
    pub(crate) id: &'a HubId,
    pub(crate) commit: &'a Commit,
    pub(crate) watch: &'a dyn Fn(Step<'_>),
}

/// A content that is on its way.
struct Arrival<'a> {
    address: Address<'a>,
    name: &'a str,
    incomplete: &'a Path,
    size: u64,
    sha256: Option<&'a str>,
}

impl Download<'_> {
    /// Puts those of `files` into the snapshot that are not there.
    pub(crate) fn missing(&self, files: &[&RemoteFile]) -> Result<(), HubError> {
        let is_there = |file: &RemoteFile| match self.repository.presence(self.commit, &file.name) {
            Presence::Present { size } => file.size.is_none_or(|listed| listed == size),
            Presence::Dangling | Presence::KnownAbsent | Presence::Unknown => false,
        };
        let missing: Vec<&&RemoteFile> = files.iter().filter(|file| !is_there(file)).collect();
        if !missing.is_empty() {
            (self.watch)(Step::Planned {
                id: self.id,
                files: missing.len(),
                bytes: missing.iter().filter_map(|file| file.size).sum(),
            });
        }
        missing.into_iter().try_for_each(|file| self.file(file))
    }

    /// Puts `file` into the snapshot.
    fn file(&self, file: &RemoteFile) -> Result<(), HubError> {
        let url = self.client.file_url(self.id, self.commit, &file.name);
        let address = Address {
            id: self.id,
            file: Some(&file.name),
            url: &url,
        };
        let head = self.client.head(address)?;
        let size = announced_size(address, file, &head)?;
        let blob = self.repository.blob(&head.etag);
        let waiting = || (self.watch)(Step::Waiting { file: &file.name });
        let lock = self.repository.lock(&head.etag, waiting)?;
        let is_there = fs::metadata(&blob).is_ok_and(|metadata| metadata.len() == size);
        if !is_there {
            self.arrive(&Arrival {
                address,
                name: &file.name,
                incomplete: &self.repository.incomplete(&head.etag),
                size,
                sha256: announced_digest(file, &head),
            })?;
            let incomplete = self.repository.incomplete(&head.etag);
            fs::rename(&incomplete, &blob).map_err(HubError::io(&blob, "write"))?;
        }
        drop(lock);
        self.repository.link(self.commit, &file.name, &head.etag)
    }

    /// Gets the content, all of it, and as it was announced.
    fn arrive(&self, arrival: &Arrival<'_>) -> Result<(), HubError> {
        if let Some(folder) = arrival.incomplete.parent() {
            fs::create_dir_all(folder).map_err(HubError::io(folder, "create"))?;
        }
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(arrival.incomplete)
            .map_err(HubError::io(arrival.incomplete, "open"))?;
        let first = length(&file, arrival)?;
        let mut meter = Meter::new(self.watch, arrival.name, first, arrival.size);
        let mut retries = self.client.retries();
        loop {
            let before = length(&file, arrival)?;
            match self.advance(arrival, &mut file, before, &mut meter) {
                Ok(()) => break,
                Err(failure) => {
                    if length(&file, arrival)? > before {
                        retries.reset();
                    }
                    if let Failure::Transient(error) = &failure {
                        (self.watch)(Step::Retrying {
                            file: arrival.name,
                            reason: error.reason(),
                        });
                    }
                    retries.after(failure)?;
                }
            }
        }
        file.sync_all()
            .map_err(HubError::io(arrival.incomplete, "write"))?;
        drop(file);
        check_digest(arrival)?;
        meter.finish();
        Ok(())
    }

    /// Asks for what is missing behind the first `start` bytes, and appends it.
    fn advance(
        &self,
        arrival: &Arrival<'_>,
        file: &mut File,
        start: u64,
        meter: &mut Meter<'_>,
    ) -> Result<(), Failure> {
        if start == arrival.size {
            return Ok(());
        }
        // More than all of it is of another time or another file.
        let start = if start > arrival.size {
            truncate(file, arrival)?;
            0
        } else {
            start
        };
        let response = self.client.content(arrival.address, start)?;
        let start = self.offset(arrival, file, start, &response)?;
        let done = self.copy(arrival, file, start, response.into_body(), meter)?;
        if done < arrival.size {
            return Err(Failure::Transient(wrong_size(arrival, done)));
        }
        Ok(())
    }

    /// Where the body of `response` belongs, which was asked for from byte `start` on.
    fn offset(
        &self,
        arrival: &Arrival<'_>,
        file: &File,
        start: u64,
        response: &Response<Body>,
    ) -> Result<u64, Failure> {
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = header(response, "content-range").unwrap_or("none");
                if range.starts_with(&format!("bytes {start}-")) {
                    return Ok(start);
                }
                let expected = "a Content-Range that begins where the file on disk ends";
                Err(malformed(arrival.address, expected, range.to_owned()).into())
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                truncate(file, arrival)?;
                let reason = format!("the server has nothing behind byte {start}");
                Err(self.client.interrupted(arrival.address, reason))
            }
            // It sends all of it, whatever was asked for.
            _ => {
                truncate(file, arrival)?;
                Ok(0)
            }
        }
    }

    /// Appends `body` behind the first `done` bytes, and says how many there are then.
    fn copy(
        &self,
        arrival: &Arrival<'_>,
        file: &mut File,
        mut done: u64,
        body: Body,
        meter: &mut Meter<'_>,
    ) -> Result<u64, Failure> {
        let mut body = body.into_reader();
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = match body.read(&mut chunk) {
                Ok(0) => return Ok(done),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(arrival, done, error)),
            };
            done += count as u64;
            if done > arrival.size {
                truncate(file, arrival)?;
                return Err(wrong_size(arrival, done).into());
            }
            file.write_all(&chunk[..count])
                .map_err(HubError::io(arrival.incomplete, "write"))?;
            meter.arrived(done);
        }
    }

    /// The connection broke off behind `done` bytes.
    fn broken(&self, arrival: &Arrival<'_>, done: u64, error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Failure::Transient(wrong_size(arrival, done));
        }
        match self.client.transport(
            arrival.address,
            arrival.address.url,
            &ureq::Error::from(error),
        ) {
            // It was there before it broke.
            Failure::Final(HubError::Unreachable { reason, .. }) => {
                self.client.interrupted(arrival.address, reason)
            }
            failure => failure,
        }
    }
}

fn announced_size(address: Address<'_>, file: &RemoteFile, head: &Head) -> Result<u64, HubError> {
    match (head.size, file.size) {
        (Some(size), Some(listed)) if size != listed => {
            let expected = "the size that the list of files has";
            let found = format!("{size} bytes where it says {listed}");
            Err(malformed(address, expected, found))
        }
        (Some(size), _) | (None, Some(size)) => Ok(size),
        (None, None) => {
            let expected = "a header X-Linked-Size or Content-Length";
            Err(malformed(address, expected, "neither".to_owned()))
        }
    }
}

/// The sha256 of a large file: the list of files has it, and where a mirror leaves it out, it is the ETag.
fn announced_digest<'a>(file: &'a RemoteFile, head: &'a Head) -> Option<&'a str> {
    let is_sha256 = |text: &&str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let etag = Some(head.etag.as_str()).filter(is_sha256);
    file.sha256.as_deref().or(etag)
}

fn check_digest(arrival: &Arrival<'_>) -> Result<(), HubError> {
    let Some(expected) = arrival.sha256 else {
        return Ok(());
    };
    let path = arrival.incomplete;
    let mut file = File::open(path).map_err(HubError::io(path, "open"))?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk).map_err(HubError::io(path, "read"))?;
        if count == 0 {
            break;
        }
        digest.update(&chunk[..count]);
    }
    let found = hexadecimal(&digest.finalize());
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    fs::remove_file(path).map_err(HubError::io(path, "remove"))?;
    Err(HubError::Digest {
        id: arrival.address.id.clone(),
        file: arrival.name.to_owned(),
        expected: expected.to_owned(),
        found,
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn length(file: &File, arrival: &Arrival<'_>) -> Result<u64, HubError> {
    let metadata = file.metadata();
    Ok(metadata
        .map_err(HubError::io(arrival.incomplete, "read"))?
        .len())
}

fn truncate(file: &File, arrival: &Arrival<'_>) -> Result<(), HubError> {
    file.set_len(0)
        .map_err(HubError::io(arrival.incomplete, "write"))
}

fn wrong_size(arrival: &Arrival<'_>, found: u64) -> HubError {
    HubError::Size {
        id: arrival.address.id.clone(),
        file: arrival.name.to_owned(),
        expected: arrival.size,
        found,
    }
}
