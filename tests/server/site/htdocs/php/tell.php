<?php
// Tells what PHP has been told of the request: by its own means, and by those of its library.
$files = [];
foreach ($_FILES as $name => $file) {
    $files[$name] = [$file['name'], $file['type'], $file['size'], $file['error'],
                     $file['error'] === UPLOAD_ERR_OK ? sha1_file($file['tmp_name']) : null];
}
header('Content-Type: application/json');
header('X-Php: ' . PHP_VERSION);
echo json_encode([
    'server' => array_map(fn($value) => is_string($value) ? bin2hex($value) : $value, $_SERVER),
    'headers' => array_map('bin2hex', getallheaders()),
    'get' => $_GET, 'post' => $_POST, 'cookie' => $_COOKIE, 'files' => $files,
    'input' => sha1(file_get_contents('php://input')),
]);
