use tonic::{Request, Status, metadata::MetadataValue, service::Interceptor};

use super::NodeId;

/// Says on every call which node is meant. A node that lost its disk is another one at the same address: what was for the one
/// before must not reach it, a vote least of all.
#[derive(Clone, Copy, Debug)]
pub struct ToNode(pub Option<NodeId>);

impl Interceptor for ToNode {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(node_id) = self.0 {
            request.metadata_mut().insert(proto::TO_NODE_ID, MetadataValue::from(node_id));
        }
        Ok(request)
    }
}
