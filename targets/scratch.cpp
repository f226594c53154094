#include "targets/scratch.h"

#include "base/error.h"

namespace mattec::targets {

using namespace Halide;
using namespace Halide::Internal;

namespace {

// Halide's loads and stores assume that allocations begin at whole vectors, and may read as much
// behind them.
constexpr int64_t vector_bytes = 64;

Expr address(int64_t offset) {
  const Expr buffer = Variable::make(type_of<halide_buffer_t*>(), "scratch.buffer");
  const Expr host = Call::make(Handle(), Call::buffer_get_host, {buffer}, Call::Extern);
  return reinterpret(Handle(), reinterpret(UInt(64), host) + make_const(UInt(64), offset));
}

}  // namespace

Stmt HeapIntoScratch::visit(const Allocate* allocation) {
  if (allocation->memory_type != MemoryType::Heap) return IRMutator::visit(allocation);
  const int64_t elements = allocation->constant_allocation_size();
  if (elements == 0) throw Error(allocation->name + ": its size is no constant");
  const int64_t offset = bytes_;
  const int64_t end = offset + (elements + allocation->padding) * allocation->type.bytes();
  bytes_ = (end + vector_bytes - 1) / vector_bytes * vector_bytes + vector_bytes;
  offsets_[allocation->name] = offset;
  return LetStmt::make(allocation->name, address(offset), mutate(allocation->body));
}

Stmt HeapIntoScratch::visit(const Free* free) {
  return offsets_.count(free->name) > 0 ? Evaluate::make(0) : IRMutator::visit(free);
}

}  // namespace mattec::targets
