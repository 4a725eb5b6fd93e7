# Finds Apache httpd's headers through its own tool, and builds modules for it.
find_program(APXS NAMES apxs apxs2 REQUIRED)
find_program(APR_CONFIG NAMES apr-1-config REQUIRED)
execute_process(COMMAND ${APXS} -q INCLUDEDIR OUTPUT_VARIABLE HTTPD_INCLUDE_DIR
                OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${APR_CONFIG} --includedir OUTPUT_VARIABLE APR_INCLUDE_DIR
                OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${APR_CONFIG} --cppflags OUTPUT_VARIABLE APR_CPPFLAGS
                OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(APR_CPPFLAGS)

# httpd_module(name sources...): build/<preset>/<name>.so.  SYSTEM: httpd's headers do not live up to
# our warnings.  Undefined symbols are right: httpd has them.
function(httpd_module name)
    add_library(${name} MODULE ${ARGN})
    set_target_properties(${name} PROPERTIES PREFIX ""
                          LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
    target_include_directories(${name} SYSTEM PRIVATE ${HTTPD_INCLUDE_DIR} ${APR_INCLUDE_DIR})
    # With it, httpd lets directives be written without casts of their functions.
    target_compile_definitions(${name} PRIVATE AP_HAVE_DESIGNATED_INITIALIZER)
    target_compile_options(${name} PRIVATE ${APR_CPPFLAGS})
    backhand_set_warnings(${name})
    # The macros that walk httpd's brigades cast.
    target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:Clang>:-Wno-cast-align>)
endfunction()
