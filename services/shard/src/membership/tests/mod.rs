//! The plan by example, and against a world in which its steps are taken, some fail, and nodes come and go.

mod examples;
mod world;
