//! The compiler and the assembler: of an installed toolkit, or from the wheels of PyPI.

use super::ptx::{self, Usage};
use super::sources::Unit;
use anyhow::{Context, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The wheels that together make a toolkit, for Linux on x86-64 and aarch64.
const WHEELS: [&str; 3] = [
    "nvidia-cuda-nvrtc-cu12==12.9.86",
    "nvidia-cuda-nvcc-cu12==12.9.86",
    "nvidia-cuda-runtime-cu12==12.9.79",
];
/// Where the assembler lies in them.
const PTXAS: &str = "nvidia/cuda_nvcc/bin/ptxas";
/// Set for the child that loads NVRTC, since libraries are searched where the environment said at its start.
const CHILD: &str = "LD_LIBRARY_PATH";

/// What turns CUDA C++ into PTX.
pub(super) enum Compiler {
    Nvcc(PathBuf),
    /// Where the wheels were unpacked.
    Nvrtc(PathBuf),
}

/// ptxas.
pub(super) struct Assembler(PathBuf);

/// Downloads the wheels and unpacks them, unless they are there.
pub(super) fn fetch(downloads: &Path) -> anyhow::Result<()> {
    if downloads.join("nvidia").is_dir() {
        return Ok(());
    }
    fs::create_dir_all(downloads)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest"])
        .arg(downloads)
        .args(WHEELS);
    eprintln!("{pip:?}");
    if !pip.status().context("python3 is needed to download wheels")?.success() {
        bail!("pip could not download {}", WHEELS.join(", "));
    }
    for entry in fs::read_dir(downloads)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "whl") {
            let unpacked =
                Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&path).arg(downloads).status()?;
            if !unpacked.success() {
                bail!("cannot unpack {}", path.display());
            }
            fs::remove_file(&path)?;
        }
    }
    // A wheel is a zip file, which is unpacked without permissions.
    let ptxas = downloads.join(PTXAS);
    #[cfg(unix)]
    fs::set_permissions(&ptxas, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// A program of an installed toolkit.
fn installed(program: &str) -> Option<PathBuf> {
    let home = env::var_os("CUDA_HOME").map(|home| PathBuf::from(home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    home.into_iter()
        .chain(env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

impl Assembler {
    pub(super) fn find(downloads: &Path) -> Option<Self> {
        let fetched = downloads.join(PTXAS);
        installed("ptxas").or_else(|| fetched.is_file().then_some(fetched)).map(Self)
    }

    fn run(&self, path: &Path, architecture: u32) -> anyhow::Result<(bool, String)> {
        let mut command = Command::new(&self.0);
        command.arg("-v").arg(format!("-arch=sm_{architecture}")).arg(path).args(["-o", "/dev/null"]);
        let output = command.output().with_context(|| format!("cannot start {}", self.0.display()))?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    pub(super) fn assembles(&self, text: &str, architecture: u32) -> anyhow::Result<bool> {
        let path = env::temp_dir().join(format!("build-kernels-{}.ptx", std::process::id()));
        fs::write(&path, text)?;
        let assembled = self.run(&path, architecture);
        fs::remove_file(&path)?;
        Ok(assembled?.0)
    }

    /// What each kernel of a file takes.
    pub(super) fn usage(&self, path: &Path, architecture: u32) -> anyhow::Result<Vec<Usage>> {
        let (good, report) = self.run(path, architecture)?;
        if !good {
            bail!("{} does not assemble for sm_{architecture}:\n{report}", path.display());
        }
        Ok(ptx::usages(&report))
    }
}

impl Compiler {
    pub(super) fn find(downloads: &Path) -> Option<Self> {
        let named = env::var_os("NVCC").map(PathBuf::from);
        if let Some(nvcc) = named.or_else(|| installed("nvcc")) {
            return Some(Self::Nvcc(nvcc));
        }
        downloads.join("nvidia/cuda_nvrtc/lib").is_dir().then(|| Self::Nvrtc(downloads.to_owned()))
    }

    /// The PTX of a unit.
    pub(super) fn compile(&self, unit: &Unit, folder: &Path) -> anyhow::Result<String> {
        let architecture = unit.architecture();
        let mut command = match self {
            Self::Nvcc(nvcc) => {
                let mut command = Command::new(nvcc);
                command.args(["--ptx", "-std=c++17", "-o", "-"]).arg(format!("-arch=compute_{architecture}"));
                command.arg(folder.join(format!("{}.cu", unit.name)));
                command
            }
            Self::Nvrtc(wheels) => {
                let mut command = Command::new(env::current_exe()?);
                command
                    .arg("nvrtc")
                    .arg(folder.join(format!("{}.cu", unit.name)))
                    .arg(architecture.to_string());
                command.arg(wheels.join("nvidia/cuda_runtime/include"));
                command.env(CHILD, wheels.join("nvidia/cuda_nvrtc/lib"));
                command
            }
        };
        command.args(unit.bf16.then_some("-DBF16"));
        let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The child: compiles one file by NVRTC and prints its PTX.
pub(crate) fn nvrtc(
    source: &Path,
    architecture: u32,
    include: &Path,
    define: Option<&str>,
) -> anyhow::Result<()> {
    use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
    let folder = source.parent().context("a source without a folder")?;
    let paths = [folder, include].map(|path| path.display().to_string()).to_vec();
    let mut options = vec![format!("--gpu-architecture=compute_{architecture}"), "--std=c++17".to_owned()];
    options.extend(define.map(str::to_owned));
    let options = CompileOptions { include_paths: paths, options, ..CompileOptions::default() };
    match compile_ptx_with_opts(fs::read_to_string(source)?, options) {
        Ok(ptx) => println!("{}", ptx.to_src()),
        Err(error) => bail!("{error:?}"),
    }
    Ok(())
}
