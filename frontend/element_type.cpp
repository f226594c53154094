#include "frontend/element_type.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace mattec::frontend {
namespace {

template <typename T>
T load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

float from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float value = exponent ? std::ldexp(1024.0F + static_cast<float>(mantissa), exponent - 25)
                         : std::ldexp(static_cast<float>(mantissa), -24);
  if (exponent == 31)
    value =
        mantissa ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  return bits & 0x8000 ? -value : value;
}

float from_bfloat16(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

}  // namespace

const ElementType* find_element_type(const std::string& name) {
  static const ElementType types[] = {
      {"F32", "torch FloatStorage", 4, [](const char* p) { return load<float>(p); }},
      {"F64", "torch DoubleStorage", 8,
       [](const char* p) { return static_cast<float>(load<double>(p)); }},
      {"F16", "torch HalfStorage", 2, [](const char* p) { return from_half(load<uint16_t>(p)); }},
      {"BF16", "torch BFloat16Storage", 2,
       [](const char* p) { return from_bfloat16(load<uint16_t>(p)); }}};
  for (const ElementType& type : types)
    if (name == type.safetensors || name == type.storage) return &type;
  return nullptr;
}

}  // namespace mattec::frontend
