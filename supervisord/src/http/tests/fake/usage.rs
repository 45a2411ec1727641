//! The one execution there was looked at once.

use supervisor_api::{ApiError, ExecutionId, Sample, SampleList};

use super::Fake;
use crate::http::samples::Samples;
use crate::supervisor::Caller;

impl Samples for Fake {
    async fn samples(&self, caller: &Caller, id: ExecutionId) -> Result<SampleList, ApiError> {
        self.find(caller, id)?;
        let sample = Sample { at_ms: 250, cpu_us: Some(1000), ..Sample::default() };
        Ok(SampleList { interval_ms: 250, samples: vec![sample] })
    }
}
