//! Who may call what: processes of the cluster by their role, and only the node that they mean.

use peer::Role;
use tonic::{Request, Status, service::Interceptor};

/// Lets requests through that are meant for this node, of these roles. The role is the one of the connection's certificate.
#[derive(Clone, Copy)]
pub struct Access {
    pub node_id: u64,
    /// `None`: whoever can connect is trusted.
    pub roles: Option<&'static [Role]>,
}

impl Interceptor for Access {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(roles) = self.roles {
            check_role(roles, request.extensions().get())?;
        }
        let meant = request.metadata().get(proto::TO_NODE_ID);
        if meant.is_some_and(|meant| *meant != self.node_id.to_string().as_str()) {
            return Err(Status::unavailable("another node is meant than the one that lives here now"));
        }
        Ok(request)
    }
}

fn check_role(roles: &[Role], role: Option<&Role>) -> Result<(), Status> {
    match role {
        Some(role) if roles.contains(role) => Ok(()),
        Some(role) => Err(Status::permission_denied(format!("a {role} may not call this"))),
        None => Err(Status::unauthenticated("the connection shows no role")),
    }
}
