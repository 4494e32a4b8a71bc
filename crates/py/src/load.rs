//! `Load`, `HlsLoad` and `Clip`: the load generator behind `stagecast bench`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule};
use stagecast_bench::{Codec, Error, Kind, Wants, clip, hls};

use crate::error::core_error;

/// Adds the classes of this file to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Clip>()?;
    module.add_class::<Load>()?;
    module.add_class::<HlsLoad>()
}

fn raise(error: &Error) -> PyErr {
    core_error(error.code(), error.to_string())
}

fn codec(name: &str) -> PyResult<Codec> {
    Codec::from_name(name)
        .filter(|c| c.kind() == Kind::Video && *c != Codec::H265)
        .ok_or_else(|| core_error("load.config", format!("unknown video codec {name:?}")))
}

/// The first address of a host; names may be looked up.
fn address(host: &str) -> PyResult<SocketAddr> {
    let found = (host, 9_u16).to_socket_addrs().map(|mut all| all.next());
    found
        .ok()
        .flatten()
        .ok_or_else(|| core_error("load.config", format!("{host} is not known")))
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct Clip {
    building: Mutex<Option<clip::Clip>>,
    finished: Mutex<Option<Arc<clip::Clip>>>,
}

#[pymethods]
impl Clip {
    #[new]
    #[pyo3(signature = (codec, stamped=true))]
    fn new(codec: Option<&str>, stamped: bool) -> PyResult<Self> {
        let codec = codec.map(self::codec).transpose()?;
        Ok(Self {
            building: Mutex::new(Some(clip::Clip::new(codec, stamped))),
            finished: Mutex::default(),
        })
    }

    fn push(&self, kind: &str, due: f64, data: &[u8]) -> PyResult<()> {
        let kind = if kind == "audio" {
            Kind::Audio
        } else {
            Kind::Video
        };
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let clip = building
            .as_mut()
            .ok_or_else(|| core_error("load.config", "the clip is finished".into()))?;
        clip.push(kind, micros(due), data).map_err(|e| raise(&e))
    }

    fn finish(&self, duration: f64) -> PyResult<()> {
        let taken = self
            .building
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut clip =
            taken.ok_or_else(|| core_error("load.config", "the clip is finished".into()))?;
        clip.finish(micros(duration)).map_err(|e| raise(&e))?;
        *self.finished.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(clip));
        Ok(())
    }
}

fn micros(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e6) as u64
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct Load {
    load: stagecast_bench::Load,
}

#[pymethods]
impl Load {
    #[new]
    fn new(py: Python<'_>, config: &[u8]) -> PyResult<Self> {
        let config =
            serde_json::from_slice(config).map_err(|e| core_error("load.config", e.to_string()))?;
        let load = py.detach(|| stagecast_bench::Load::start(config));
        Ok(Self {
            load: load.map_err(|e| raise(&e))?,
        })
    }

    #[pyo3(signature = (host, codecs, audio=true))]
    #[allow(clippy::needless_pass_by_value)] // Python gives the list away.
    fn viewer(
        &self,
        py: Python<'_>,
        host: &str,
        codecs: Vec<String>,
        audio: bool,
    ) -> PyResult<(u64, String)> {
        let video = codecs
            .iter()
            .map(|name| codec(name))
            .collect::<PyResult<Vec<_>>>()?;
        py.detach(|| {
            let wants = Wants {
                video: &video,
                audio,
            };
            let toward = address(host)?;
            self.load.viewer(toward, wants).map_err(|e| raise(&e))
        })
    }

    #[pyo3(signature = (host, clip, obeys=true))]
    fn publisher(
        &self,
        py: Python<'_>,
        host: &str,
        clip: &Bound<'_, Clip>,
        obeys: bool,
    ) -> PyResult<(u64, String)> {
        let clip = clip
            .get()
            .finished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| core_error("load.config", "the clip is not finished".into()))?;
        py.detach(|| {
            let toward = address(host)?;
            self.load
                .publisher(toward, &clip, obeys)
                .map_err(|e| raise(&e))
        })
    }

    fn posted(&self, ident: u64) {
        self.load.posted(ident);
    }

    fn answer(&self, py: Python<'_>, ident: u64, sdp: &str) -> PyResult<()> {
        py.detach(|| self.load.answer(ident, sdp))
            .map_err(|e| raise(&e))
    }

    fn close_peer(&self, py: Python<'_>, ident: u64) {
        py.detach(|| self.load.close_peer(ident));
    }

    fn mark(&self, py: Python<'_>) {
        py.detach(|| self.load.mark());
    }

    fn poll<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let polled = py.detach(|| serde_json::to_vec(&self.load.poll()));
        PyBytes::new(py, &polled.expect("figures hold numbers and names only"))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.load.close());
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct HlsLoad {
    load: hls::Load,
}

#[pymethods]
impl HlsLoad {
    #[new]
    fn new(config: &[u8]) -> PyResult<Self> {
        let config =
            serde_json::from_slice(config).map_err(|e| core_error("load.config", e.to_string()))?;
        let load = hls::Load::start(&config).map_err(|e| raise(&e))?;
        Ok(Self { load })
    }

    fn join(&self) -> PyResult<()> {
        self.load.join().map_err(|e| raise(&e))
    }

    fn mark(&self, py: Python<'_>) {
        py.detach(|| self.load.mark());
    }

    fn poll<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let polled = py.detach(|| serde_json::to_vec(&self.load.poll()));
        PyBytes::new(py, &polled.expect("figures hold numbers and names only"))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.load.close());
    }
}
