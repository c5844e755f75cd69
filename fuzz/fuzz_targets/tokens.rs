#![cfg_attr(fuzzing, no_main)]

spooky_fuzz::target!(spooky_fuzz::tokens);
