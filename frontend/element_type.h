// The types in which weight files hold numbers.
#pragma once

#include <cstddef>
#include <string>

namespace mattec::frontend {

// A floating-point type; every value becomes a float (of doubles the nearest).
struct ElementType {
  const char* safetensors;  // "F16"
  const char* storage;      // PyTorch's class: "torch HalfStorage"
  size_t size;              // bytes
  float (*read)(const char*);
};

// By either name; null for what is no floating-point type (or one of 8 bits).
const ElementType* find_element_type(const std::string& name);

}  // namespace mattec::frontend
