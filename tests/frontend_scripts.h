// TorchScript networks made by tests.
#pragma once

#include <torch/script.h>

#include <string>

#include "tests/frontend_networks.h"

namespace mattec::testing {

// A module with weights for `script`, its methods.
torch::jit::Module module_of(const std::string& script);

// A small recurrent network with the operators that exporters write in different ways.
extern const char* const matting;

std::string save(const ScratchFolder& folder, const std::string& script);

// What reading the file throws, checked to be one line that begins with the file; or "no error".
std::string error_of(const std::string& file);

// That reading a network of these methods throws an error with this part.
void expect_refused(const std::string& script, const std::string& part);

// `lines` of a forward(x) with y, one channel, and h and w, the frame's size; gives y.
std::string sized(const std::string& lines);

}  // namespace mattec::testing
