//! Which processes of the cluster may call what.

use peer::Role;
use tonic::{Request, Status, service::Interceptor};

/// Lets requests of these roles through. The role is the one of the connection's certificate.
#[derive(Clone, Copy)]
pub struct Only(pub &'static [Role]);

impl Interceptor for Only {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match request.extensions().get::<Role>() {
            Some(role) if self.0.contains(role) => Ok(request),
            Some(role) => Err(Status::permission_denied(format!("a {role} may not call this"))),
            None => Err(Status::unauthenticated("the connection shows no role")),
        }
    }
}
