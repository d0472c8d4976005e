//! Where does a session live, and in which environment?
//!
//! In a folder of its own on a file system in memory, which goes with it. One that a killed kernel has left is removed
//! by the next.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use syslab_rustc::TEMPLATE;
use syslab_rustc::template::Template;

use crate::prepare;

/// Our configuration of evcxr: a cell is compiled in half the time, and `:opt 2` is for what is measured. Set later it
/// would cost a second look at the project.
const CONFIGURATION: &str = "[evcxr]\nopt_level = \"0\"\n";

/// The folder of a session.
pub(crate) struct Place {
    folder: PathBuf,
}

impl Place {
    /// Makes it, and removes those of kernels that are gone.
    ///
    /// # Errors
    /// That there is no room, and where, in a sentence.
    pub(crate) fn new() -> Result<Place, String> {
        // SAFETY: takes nothing.
        let user = unsafe { libc::getuid() };
        let prefix = format!("syslab-{user}-");
        let memory = Path::new("/dev/shm");
        let base = if executable(memory) {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        remove_abandoned(&base, &prefix, user);
        let folder = base.join(format!("{prefix}{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(if user == 0 { 0o711 } else { 0o700 })
            .create(&folder)
            .and_then(|()| std::fs::create_dir_all(folder.join("evcxr")))
            .and_then(|()| std::fs::create_dir(folder.join("configuration")))
            .and_then(|()| std::fs::write(folder.join("configuration/evcxr.toml"), CONFIGURATION))
            .map_err(|why| {
                format!(
                    "cannot make the session's folder {}: {why}; free some room there",
                    folder.display()
                )
            })?;
        if user == 0 {
            // A cell of root's may become somebody else, and still has to find the next one.
            let open = std::fs::Permissions::from_mode(0o711);
            let _ = std::fs::set_permissions(folder.join("evcxr"), open);
        }
        Ok(Place { folder })
    }

    /// evcxr's folder.
    pub(crate) fn evcxr(&self) -> PathBuf {
        self.folder.join("evcxr")
    }

    /// The folder of the analysis.
    pub(crate) fn analysis(&self) -> PathBuf {
        self.folder.join("analysis")
    }

    /// The socket at which the host calls.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("host.socket")
    }

    /// Sets what evcxr, the host and the compiler look for.
    ///
    /// # Safety
    /// There is no other thread yet.
    pub(crate) unsafe fn set_environment(&self, template: &Path, has: &Template) {
        let users_path = std::env::var_os("PATH").unwrap_or_default();
        let mut path = template.join("bin").into_os_string();
        path.push(":");
        path.push(&users_path);
        let set = [
            ("PATH", path),
            ("SYSLAB_USERS_PATH", users_path),
            (TEMPLATE, template.as_os_str().to_owned()),
            (link::SOCKET, self.socket().into_os_string()),
            (link::CELL_LIBRARY, has.cell_library.as_os_str().to_owned()),
            ("EVCXR_TMPDIR", self.evcxr().into_os_string()),
            // A learner's configuration of evcxr is for evcxr.
            (
                "EVCXR_CONFIG_DIR",
                self.folder.join("configuration").into_os_string(),
            ),
            // Types come from rustc: the rust-analyzer inside evcxr needs no standard library.
            (
                "RUST_SRC_PATH",
                template.join(prepare::NO_SOURCES).into_os_string(),
            ),
            // It looks for cargo there before it looks along PATH.
            ("CARGO_HOME", template.as_os_str().to_owned()),
        ];
        if let Some(home) = std::env::var_os("CARGO_HOME") {
            // SAFETY: as the caller says.
            unsafe { std::env::set_var("SYSLAB_USERS_CARGO_HOME", home) };
        }
        for (name, value) in set {
            // SAFETY: as the caller says.
            unsafe { std::env::set_var(name, value) };
        }
        for name in [
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_MAKEFLAGS",
        ] {
            // SAFETY: as the caller says.
            unsafe { std::env::remove_var(name) };
        }
    }

    /// Removes the folder.
    pub(crate) fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether libraries can be loaded from there.
fn executable(folder: &Path) -> bool {
    let Ok(name) = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()) else {
        return false;
    };
    // SAFETY: a C string, and a struct of ours that the kernel fills; all zero is a value of it.
    unsafe {
        let mut system: libc::statvfs = std::mem::zeroed();
        libc::statvfs(name.as_ptr(), &raw mut system) == 0
            && system.f_flag & libc::ST_NOEXEC == 0
            && system.f_bavail * system.f_frsize > 256 << 20
            && libc::access(name.as_ptr(), libc::W_OK) == 0
    }
}

fn remove_abandoned(base: &Path, prefix: &str, user: u32) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix))
            .and_then(|pid| pid.parse::<i32>().ok());
        let ours = entry
            .metadata()
            .is_ok_and(|metadata| metadata.uid() == user);
        if let Some(pid) = pid
            && ours
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
