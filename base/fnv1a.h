// 64-bit FNV-1a (Fowler, Noll, Vo): tells files apart, no protection against intent.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mattec {

// Of bytes that follow those whose hash is `hash`.
inline uint64_t fnv1a(const void* data, size_t size, uint64_t hash = 14695981039346656037ULL) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 1099511628211ULL;
  return hash;
}

}  // namespace mattec
