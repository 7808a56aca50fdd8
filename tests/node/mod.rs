//! Programs of npm, installed below the build directory: what the real ones make and say.
use std::path::PathBuf;
use std::process::{Command, Output};

/// A directory with these packages installed, and `script` in it; or why there is none.
pub fn with(name: &str, packages: &[&str], script: (&str, &str)) -> Result<PathBuf, String> {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    // One installs at a time: tests run in processes of their own.
    let locked = std::fs::File::create(dir.join("lock")).and_then(|file| file.lock().map(|()| file));
    let _installing = locked.map_err(|error| format!("cannot lock {}: {error}", dir.display()))?;
    run(Command::new("node").arg("--version"), "node cannot be run")?;
    let done = dir.join("installed");
    if std::fs::read_to_string(&done).ok().as_deref() != Some(&packages.join(" ")) {
        let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefix"];
        run(Command::new("npm").args(install).arg(&dir).args(packages), &format!("npm cannot install {}", packages.join(" and ")))?;
        std::fs::write(&done, packages.join(" ")).map_err(|error| error.to_string())?;
    }
    std::fs::write(dir.join(script.0), script.1).map_err(|error| error.to_string())?;
    Ok(dir)
}

fn run(command: &mut Command, what: &str) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{what}: {}", last_line(&output))),
        Err(error) => Err(format!("{what}: {error}")),
    }
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output").chars().take(200).collect()
}
