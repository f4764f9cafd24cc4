//! What is broken, one file for each way.

mod alone;
