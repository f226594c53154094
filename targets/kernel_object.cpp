#include "Halide.h"
#include "base/error.h"
#include "schedules/apply.h"
#include "targets/objects.h"
#include "targets/scratch.h"

namespace mattec::targets {
namespace {

// Static shapes need no bounds queries and no checks; strict_float pins every rounding.
Halide::Target halide_target(const Target& target) {
  using Feature = Halide::Target::Feature;
  return Halide::Target(target.halide)
      .with_feature(Feature::NoAsserts)
      .with_feature(Feature::NoBoundsQuery)
      .with_feature(Feature::NoRuntime)
      .with_feature(Feature::StrictFloat);
}

}  // namespace

CompiledKernel compile_kernel(const lower::Kernel& kernel, const schedules::Schedule& schedule,
                              const std::string& symbol, const std::string& prefix,
                              const Target& target) {
  try {
    const generators::Pipeline pipeline =
        schedules::apply(schedule, kernel, microkernel_symbol(prefix, kernel.microkernel));
    // No metadata: it would hold names that Halide numbers through the whole process.
    HeapIntoScratch scratch;
    Halide::Pipeline kernels(pipeline.output);
    kernels.add_custom_lowering_pass(&scratch, {});
    const Halide::Module module = kernels.compile_to_module(
        pipeline.arguments, symbol, halide_target(target), Halide::LinkageType::ExternalPlusArgv);
    const Halide::Buffer<uint8_t> object = module.compile_to_buffer();
    return {Bytes(object.begin(), object.end()), scratch.bytes()};
  } catch (const Halide::Error& error) {  // not a std::exception
    throw Error("kernel " + symbol + " (" + lower::name_of(kernel) + "): " + error.what());
  }
}

}  // namespace mattec::targets
