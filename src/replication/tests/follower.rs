//! Rules of [`super`], each with its guard.
