//! `Client`, `ClientPool`, `DelayProbe` and `Frame`: the WebRTC client for the
//! command line, the tests and the load generator.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyModule};
use stagecast_io::webrtc::client::{self, Kind, Pool, Probe};

use crate::error::core_error;

/// The longest a wait may be asked for.
const MAX_WAIT: f64 = 3600.0;

/// Adds the classes of this file to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Client>()?;
    module.add_class::<ClientPool>()?;
    module.add_class::<DelayProbe>()?;
    module.add_class::<Frame>()
}

fn raise(error: &client::Error) -> PyErr {
    core_error(error.code(), error.to_string())
}

fn seconds(timeout: f64) -> Duration {
    // NaN and negative waits are no wait.
    Duration::from_secs_f64(if timeout > 0.0 {
        timeout.min(MAX_WAIT)
    } else {
        0.0
    })
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct ClientPool {
    pool: Arc<Pool>,
}

#[pymethods]
impl ClientPool {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let pool = py.detach(Pool::new).map_err(|e| raise(&e))?;
        Ok(Self { pool })
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.pool.close());
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct DelayProbe {
    probe: Arc<Probe>,
}

#[pymethods]
impl DelayProbe {
    #[new]
    fn new() -> Self {
        Self {
            probe: Arc::default(),
        }
    }

    fn report<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let report = py.detach(|| serde_json::to_vec(&self.probe.report()));
        PyBytes::new(py, &report.expect("figures hold numbers only"))
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct Frame {
    frame: client::Frame,
}

#[pymethods]
impl Frame {
    #[getter]
    fn kind(&self) -> &'static str {
        self.frame.kind.name()
    }

    #[getter]
    fn codec(&self) -> &'static str {
        self.frame.codec
    }

    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.frame.data)
    }

    #[getter]
    fn rtp_time(&self) -> u64 {
        self.frame.rtp_time
    }

    #[getter]
    fn clock(&self) -> u32 {
        self.frame.clock
    }

    #[getter]
    fn keyframe(&self) -> bool {
        self.frame.keyframe
    }

    #[getter]
    fn contiguous(&self) -> bool {
        self.frame.contiguous
    }

    #[getter]
    fn arrived(&self) -> f64 {
        self.frame.arrived
    }

    #[getter]
    fn captured(&self) -> Option<f64> {
        self.frame.captured
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "stagecast._core")]
pub(crate) struct Client {
    client: client::Client,
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (config, pool=None, probe=None))]
    fn new(
        py: Python<'_>,
        config: &[u8],
        pool: Option<Bound<'_, ClientPool>>,
        probe: Option<Bound<'_, DelayProbe>>,
    ) -> PyResult<Self> {
        let config = serde_json::from_slice(config)
            .map_err(|e| core_error("client.config", e.to_string()))?;
        let pool = pool.map(|p| p.get().pool.clone());
        let probe = probe.map(|p| p.get().probe.clone());
        let made = py.detach(|| {
            let pool = pool.map_or_else(Pool::new, Ok)?;
            client::Client::new(config, pool, probe)
        });
        Ok(Self {
            client: made.map_err(|e| raise(&e))?,
        })
    }

    #[getter]
    fn offer(&self) -> &str {
        self.client.offer()
    }

    fn accept_answer(&self, py: Python<'_>, sdp: &str) -> PyResult<()> {
        py.detach(|| self.client.accept_answer(sdp))
            .map_err(|e| raise(&e))
    }

    fn wait_connected(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        py.detach(|| self.client.wait_connected(seconds(timeout)))
            .map_err(|e| raise(&e))
    }

    fn send_frame(&self, py: Python<'_>, kind: &str, data: &[u8], pts: u64) -> PyResult<bool> {
        let kind = match kind {
            "audio" => Kind::Audio,
            "video" => Kind::Video,
            other => {
                let detail = format!("a frame is audio or video, not {other:?}");
                return Err(core_error("client.config", detail));
            }
        };
        let data = data.to_vec();
        py.detach(|| self.client.send_frame(kind, data, pts))
            .map_err(|e| raise(&e))
    }

    fn next_frame(&self, py: Python<'_>, timeout: f64) -> PyResult<Option<Frame>> {
        let frame = py.detach(|| self.client.next_frame(seconds(timeout)));
        Ok(frame.map_err(|e| raise(&e))?.map(|frame| Frame { frame }))
    }

    fn take_keyframe_request(&self) -> bool {
        self.client.take_keyframe_request()
    }

    fn request_keyframe(&self) {
        self.client.request_keyframe();
    }

    #[getter]
    fn state(&self) -> &'static str {
        self.client.state()
    }

    fn stats<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let stats = py.detach(|| self.client.stats())?;
        let json = serde_json::to_vec(&stats).expect("figures hold numbers and strings only");
        Some(PyBytes::new(py, &json))
    }

    #[pyo3(signature = (goodbye=true))]
    fn close(&self, py: Python<'_>, goodbye: bool) {
        py.detach(|| self.client.close(goodbye));
    }
}
