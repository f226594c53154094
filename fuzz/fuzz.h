// What each program in this folder defines, and what its drivers call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Sound inputs, small, from which the others are made. The same every time.
std::vector<std::string> fuzz_seeds();

// Reads one input. Any error but mattec::Error leaves it, and any crash, is a finding.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
