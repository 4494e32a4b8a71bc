//! `CoreError`: every refusal of the core as one Python exception with a stable code.

use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    stagecast._core,
    CoreError,
    PyException,
    "The core refused a call.\n\n``code`` is stable and dotted, ``detail`` is for a person."
);

/// Add the exception to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<CoreError>();
    class.setattr("code", "core.unknown")?;
    class.setattr("detail", "")?;
    module.add("CoreError", class)
}

/// The exception for a code and a sentence.
pub(crate) fn core_error(code: &str, detail: String) -> PyErr {
    Python::attach(|py| {
        let error = CoreError::new_err(detail.clone());
        let value = error.value(py);
        let named = value
            .setattr("code", code)
            .and_then(|()| value.setattr("detail", detail));
        named.err().unwrap_or(error)
    })
}
