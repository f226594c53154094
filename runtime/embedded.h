// The runtime as the compiler carries it: the object of every product library and the header that
// goes beside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mattec::runtime {

struct Embedded {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

// The relocatable ELF object of the hosted runtime (x86-64 baseline, position independent). It
// defines `mattec_runtime_functions` (hidden) and wants pthread_* alone. `architecture` is
// "x86-64" or "arm-64". Throws Error for one that this compiler was built without.
Embedded runtime_object(const std::string& architecture);

// The text of mattec.h.
std::string_view public_header();

}  // namespace mattec::runtime
