//! A method reaches its device at most once, and its caller gets the device's answer to this call or none.

use std::collections::BTreeMap;

/// Names a call of a method of any device.
pub type CallId = u64;

#[derive(Default)]
pub struct Methods {
    calls: BTreeMap<CallId, Call>,
}

struct Call {
    device: String,
    reached: u32,
    answered: bool,
}

impl Methods {
    pub fn begin(&mut self, device: &str) -> CallId {
        let id = self.calls.len() as CallId + 1;
        self.calls.insert(id, Call { device: device.to_owned(), reached: 0, answered: false });
        id
    }

    /// A connection of the device was asked to run it.
    pub fn reached(&mut self, device: &str, id: CallId) -> Result<(), String> {
        let Some(call) = self.calls.get_mut(&id) else { return Err(format!("method {id} was never called")) };
        call.reached += 1;
        match call {
            Call { reached: 1, device: called, .. } if called == device => Ok(()),
            _ => Err(format!("method {id} of {} reached {device}, {} times in all", call.device, call.reached)),
        }
    }

    /// The caller has an answer, to that call.
    pub fn answered(&mut self, id: CallId, answer_to: CallId) -> Result<(), String> {
        let Some(call) = self.calls.get_mut(&id) else { return Err(format!("method {id} was never called")) };
        call.answered = true;
        if id == answer_to && call.reached > 0 {
            Ok(())
        } else {
            Err(format!("method {id} got the answer {answer_to}"))
        }
    }

    /// The hub works for methods, too.
    pub fn check_end(&self) -> Result<(), String> {
        let last = self.calls.values().next_back();
        match last {
            Some(call) if !call.answered => Err(format!("the last method, of {}, has no answer", call.device)),
            _ => Ok(()),
        }
    }
}
