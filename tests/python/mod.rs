//! Programs of PyPI, installed into a virtual environment below the build directory: what other programs make of our answers.
use std::path::PathBuf;
use std::process::{Command, Output};

/// A Python in which `imports` works, with these packages installed; or why there is none.
pub fn with(name: &str, packages: &[&str], imports: &str) -> Result<PathBuf, String> {
    let venv = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    // One installs at a time: tests run in processes of their own.
    let locked = std::fs::File::create(venv.with_extension("lock")).and_then(|file| file.lock().map(|()| file));
    let _installing = locked.map_err(|error| format!("cannot lock {}: {error}", venv.display()))?;
    let python = venv.join("bin/python");
    let run = |command: &mut Command, what: &str| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{what}: {}", last_line(&output))),
        Err(error) => Err(format!("{what}: {error}")),
    };
    if run(Command::new(&python).args(["-c", imports]), "import").is_ok() {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv), "python3 -m venv failed, is python3-venv installed?")?;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(Command::new(&python).args(install).args(packages), &format!("pip cannot install {}", packages.join(" and ")))?;
    run(Command::new(&python).args(["-c", imports]), "the packages cannot be imported")?;
    Ok(python)
}

/// The last line of what a program complained of.
pub fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output").chars().take(200).collect()
}
