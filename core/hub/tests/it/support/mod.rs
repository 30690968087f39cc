//! A Hub of one's own, and a cache.

pub(crate) mod server;
pub(crate) mod site;

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use tlbench_hub::{Hub, HubError, Patience, Settings, Snapshot, Token};

use site::Site;

/// Longer than what is read at once.
pub(crate) fn weights() -> Vec<u8> {
    (0..1_000_000_u32)
        .flat_map(|n| (n / 7).to_le_bytes())
        .collect()
}

/// A repository with a model in it, and with what nobody asked for.
pub(crate) fn model() -> Site {
    Site::new()
        .small("README.md", "# tiny")
        .small("config.json", "{\"model_type\": \"tiny\"}")
        .small("tokenizer.json", "{}")
        .large("model.safetensors", weights())
        .large("pytorch_model.bin", "pickled")
}

/// The weights of [`model`] are there, byte by byte.
#[track_caller]
pub(crate) fn assert_whole(snapshot: &Snapshot) {
    let content = fs::read(snapshot.folder.join("model.safetensors")).unwrap();
    assert!(content == weights(), "{} bytes", content.len());
}

/// A cache, and how the Hub is reached.
pub(crate) struct Test {
    folder: TempDir,
    pub(crate) settings: Settings,
    steps: Mutex<Vec<String>>,
}

impl Test {
    pub(crate) fn new(site: &Site) -> Self {
        Self::at(site.url())
    }

    pub(crate) fn at(endpoint: String) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self {
            settings: Settings {
                cache: folder.path().to_owned(),
                endpoint,
                token: None,
                offline: false,
                patience: Patience {
                    // Machines may be busy; only what tests a silence is to wait for one.
                    answer: Duration::from_secs(30),
                    read: Duration::from_secs(30),
                    attempts: 3,
                    wait: Duration::from_millis(1),
                },
            },
            folder,
            steps: Mutex::default(),
        }
    }

    pub(crate) fn token(mut self, token: &str) -> Self {
        self.settings.token = Token::new(token);
        self
    }

    pub(crate) fn impatient(mut self) -> Self {
        self.settings.patience.answer = Duration::from_secs(1);
        self.settings.patience.read = Duration::from_secs(1);
        self
    }

    pub(crate) fn offline(mut self) -> Self {
        self.settings.offline = true;
        self
    }

    /// A path in the cache of the repository.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("models--owner--tiny").join(path)
    }

    /// Writes a file in the cache of the repository.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn fetch(&self, id: &str) -> Result<Snapshot, HubError> {
        let hub = Hub::new(self.settings.clone());
        hub.fetch(&id.parse().unwrap(), &|step| {
            self.steps.lock().unwrap().push(step.to_string());
        })
    }

    /// The one line that a user gets, without what differs from run to run.
    #[track_caller]
    pub(crate) fn error(&self, id: &str) -> String {
        let line = self.fetch(id).unwrap_err().to_string();
        assert!(!line.contains('\n'), "{line}");
        let cache = self.folder.path().display().to_string();
        line.replace(&self.settings.endpoint, "[HUB]")
            .replace(&cache, "[CACHE]")
    }

    /// What was told since the last time.
    pub(crate) fn steps(&self) -> String {
        std::mem::take(&mut *self.steps.lock().unwrap()).join("\n")
    }

    /// The files in the cache, with what links stand for.
    pub(crate) fn tree(&self) -> String {
        let mut lines = Vec::new();
        let mut open = vec![self.folder.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.folder.path()).unwrap();
                let name = name.display().to_string();
                if path.is_symlink() {
                    let target = fs::read_link(&path).unwrap();
                    lines.push(format!("{name} -> {}", target.display()));
                } else if path.is_dir() {
                    open.push(path);
                } else {
                    lines.push(format!("{name}: {} bytes", path.metadata().unwrap().len()));
                }
            }
        }
        lines.sort();
        lines.join("\n")
    }
}
