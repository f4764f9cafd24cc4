mod client;
mod laws;
mod reconcile;
mod scale;
mod world;
