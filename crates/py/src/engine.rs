//! `Engine`: the media engine for the control plane. Converts, calls, maps errors.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule};
use stagecast_io::engine::{self, EngineConfig, EngineError};
use stagecast_io::{SourceKey, codec_by_name, publish_options};

use crate::error::core_error;

/// Add the classes of this file to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Engine>()?;
    module.add_class::<Answer>()?;
    module.add_class::<Patched>()
}

fn raise(error: &EngineError) -> PyErr {
    core_error(error.code(), error.to_string())
}

fn json(py: Python<'_>, value: &(impl serde::Serialize + Sync)) -> PyResult<Py<PyBytes>> {
    let bytes = py
        .detach(|| serde_json::to_vec(value))
        .map_err(|e| core_error("core.json", e.to_string()))?;
    Ok(PyBytes::new(py, &bytes).unbind())
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct Answer {
    #[pyo3(get)]
    session: String,
    #[pyo3(get)]
    sdp: String,
    #[pyo3(get)]
    etag: String,
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct Patched {
    #[pyo3(get)]
    fragment: Option<String>,
    #[pyo3(get)]
    etag: String,
}

impl From<engine::Answer> for Answer {
    fn from(answer: engine::Answer) -> Self {
        Self {
            session: answer.session.to_string(),
            sdp: answer.sdp,
            etag: answer.etag,
        }
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct Engine {
    engine: engine::Engine,
}

#[pymethods]
impl Engine {
    #[new]
    fn new(py: Python<'_>, config: &[u8]) -> PyResult<Self> {
        let config: EngineConfig = serde_json::from_slice(config)
            .map_err(|e| core_error("config.invalid", format!("media settings: {e}")))?;
        let engine = py
            .detach(|| engine::Engine::start(config))
            .map_err(|e| raise(&e))?;
        Ok(Self { engine })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.engine.port()
    }

    #[getter]
    fn hls_port(&self) -> Option<u16> {
        self.engine.hls_port()
    }

    #[getter]
    fn rtmp_port(&self) -> Option<u16> {
        self.engine.rtmp_ports().plain
    }

    #[getter]
    fn rtmps_port(&self) -> Option<u16> {
        self.engine.rtmp_ports().tls
    }

    #[getter]
    fn worker_socket(&self) -> Option<String> {
        let path = self.engine.worker_socket();
        path.map(|p| p.to_string_lossy().into_owned())
    }

    #[getter]
    fn srt_port(&self) -> Option<u16> {
        self.engine.srt_port()
    }

    fn event_fd(&self) -> i32 {
        self.engine.event_fd()
    }

    fn drain_events(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let events = py.detach(|| self.engine.drain_events());
        json(py, &events)
    }

    fn figures(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let figures = py.detach(|| self.engine.figures());
        json(py, &figures)
    }

    #[pyo3(signature = (*, stream, source, offer, codec=None, audio=true, video=true, local=false))]
    #[allow(clippy::too_many_arguments)] // Keyword arguments of one request.
    fn publish(
        &self,
        py: Python<'_>,
        stream: &str,
        source: Option<&str>,
        offer: &str,
        codec: Option<&str>,
        audio: bool,
        video: bool,
        local: bool,
    ) -> PyResult<Answer> {
        let codec = codec
            .map(|name| {
                codec_by_name(name).ok_or_else(|| {
                    let detail =
                        format!("Unknown video codec {name:?}: use h264, h265, vp8, vp9 or av1.");
                    core_error("sdp.no_common_codec", detail)
                })
            })
            .transpose()?;
        let options = publish_options(codec, audio, video);
        py.detach(|| {
            let key = SourceKey::new(stream, source);
            self.engine.publish(key, offer, options, local)
        })
        .map(Answer::from)
        .map_err(|e| raise(&e))
    }

    #[pyo3(signature = (*, stream, source, offer, local=false))]
    fn view(
        &self,
        py: Python<'_>,
        stream: &str,
        source: Option<&str>,
        offer: &str,
        local: bool,
    ) -> PyResult<Answer> {
        py.detach(|| {
            self.engine
                .view(SourceKey::new(stream, source), offer, local)
        })
        .map(Answer::from)
        .map_err(|e| raise(&e))
    }

    fn patch(
        &self,
        py: Python<'_>,
        session: &str,
        fragment: &str,
        if_match: Option<&str>,
    ) -> PyResult<Patched> {
        py.detach(|| self.engine.patch(session, fragment, if_match))
            .map(|patched| Patched {
                fragment: patched.fragment,
                etag: patched.etag,
            })
            .map_err(|e| raise(&e))
    }

    fn select_layer(&self, py: Python<'_>, session: &str, layer: &str) -> PyResult<()> {
        py.detach(|| self.engine.select_layer(session, layer))
            .map_err(|e| raise(&e))
    }

    fn end_session(&self, py: Python<'_>, session: &str, reason: &str) -> bool {
        py.detach(|| self.engine.end_session(session, reason))
    }

    #[pyo3(signature = (stream, source))]
    fn is_live(&self, py: Python<'_>, stream: &str, source: Option<&str>) -> bool {
        py.detach(|| self.engine.is_live(&SourceKey::new(stream, source)))
    }

    fn decide(&self, py: Python<'_>, question: u64, verdict_json: &str) -> PyResult<()> {
        py.detach(|| self.engine.decide(question, verdict_json.as_bytes()))
            .map_err(|e| raise(&e))
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.engine.close());
    }
}
