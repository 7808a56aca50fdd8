//! A real headless Chromium, driven by npm's `playwright-core`, and npm's `axe-core`, which knows what keeps people from using a page; both
//! are installed below the build directory.
use std::path::{Path, PathBuf};
use std::process::Command;

const PACKAGES: [(&str, &str); 2] = [("playwright-core", "1.65.1"), ("axe-core", "4.14.1")];
const CHROMIUM: &str = "/usr/bin/chromium";

/// What it takes to run scripts in a directory that has the package.
pub struct Browser {
    dir: PathBuf,
}

impl Browser {
    /// Or why there is none.
    pub fn find() -> Result<Browser, String> {
        if !Path::new(CHROMIUM).exists() {
            return Err(format!("{CHROMIUM} is not there: apt-get install chromium"));
        }
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("playwright");
        std::fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        // One installs at a time: tests run in processes of their own.
        let locked = std::fs::File::create(dir.join("lock")).and_then(|file| file.lock().map(|()| file));
        let _installing = locked.map_err(|error| format!("cannot lock {}: {error}", dir.display()))?;
        run(Command::new("node").arg("--version"), "node does not run: apt-get install nodejs npm")?;
        if PACKAGES.iter().any(|(name, _)| !dir.join(format!("node_modules/{name}/package.json")).exists()) {
            let packages = PACKAGES.map(|(name, version)| format!("{name}@{version}"));
            let install = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"];
            run(
                Command::new("npm").args(install).args(&packages).current_dir(&dir),
                &format!("npm cannot install {}", packages.join(" ")),
            )?;
        }
        Ok(Browser { dir })
    }

    /// Runs a script of ours with these arguments behind address, directory and browser; panics with what it says is wrong.
    pub fn run(&self, script: &str, address: &str, screenshots: &Path, more: &str) {
        let path = self.dir.join("look.mjs");
        std::fs::write(&path, script).expect("written");
        std::fs::create_dir_all(screenshots).expect("made");
        let output = Command::new("node").arg(&path).arg(address).arg(screenshots).arg(CHROMIUM).arg(more).output().expect("node runs");
        println!("{}", String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

fn run(command: &mut Command, what: &str) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("no output"))),
        Err(error) => Err(format!("{what}: {error}")),
    }
}
