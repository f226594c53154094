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

// The relocatable ELF object of the runtime (the architecture's baseline, position independent). It
// defines `mattec_runtime_functions` (hidden). Hosted it wants pthread_* (on ARM getauxval, too),
// else nothing. `architecture` is "x86-64" or "arm-64". Throws Error for one that this compiler was
// built without.
Embedded runtime_object(const std::string& architecture, bool is_hosted);

// The text of mattec.h.
std::string_view public_header();

}  // namespace mattec::runtime
