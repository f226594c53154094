// A kernel's intermediate rows in memory that the caller gives, instead of the heap or the stack.
#pragma once

#include <map>
#include <string>

#include "Halide.h"

namespace mattec::targets {

// Puts every allocation of MemoryType::Heap into the kernel's buffer "scratch". Halide has no such
// memory type; this runs as its last lowering pass and replaces the allocation by a pointer into
// the buffer.
class HeapIntoScratch : public Halide::Internal::IRMutator {
 public:
  int64_t bytes() const { return bytes_; }

 protected:
  using IRMutator::visit;
  Halide::Internal::Stmt visit(const Halide::Internal::Allocate* allocation) override;
  Halide::Internal::Stmt visit(const Halide::Internal::Free* free) override;

 private:
  std::map<std::string, int64_t> offsets_;
  int64_t bytes_ = 0;
};

}  // namespace mattec::targets
